"""Calls of the admin API and its stream of events. Every error becomes a `Failed`.

A call may take as long as the balancer was asked to wait, and SECONDS more. Proxies named in the environment
are not used, because a request with an admin token should reach only the balancer.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

from lb.about import VERSION_FIELD
from lb.remote import http_calls
from lb.remote.address import ADDRESS_VARIABLE, Where
from lb.remote.exits import Code, Failed
from lb.remote.http_calls import Asked, Said, Unanswered
from lb.remote.secure import CA_VARIABLE, CERT_VARIABLE
from lb.remote.terminal_text import printable, warn
from lb.settings.admin_defaults import TOKEN_VARIABLE

SECONDS = 10.0
SILENCE_SECONDS = 45.0
"""The longest silence of a stream of events, which has a ping every 15 s."""
MOST_ERRORS = 5
LONGEST_ANSWER = 200
"""Of what is no balancer's, so much is looked at."""


class Answer(NamedTuple):
    """A successful response: its body as text and as JSON (None without a body)."""

    status: int
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.text) if self.text else None


class Event(NamedTuple):
    """One event of the stream."""

    type: str
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.text)


class Remote:
    """The admin API of one balancer."""

    def __init__(self, where: Where) -> None:
        self.where = where
        self._warned: str | None = None

    def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        wait: float = 0.0,
        content: bytes | None = None,
        kind: str = "",
    ) -> Answer:
        """Make one call. Parameters and fields of the body that are None are left out.

        `content` of this `kind` is a body that is no JSON. `wait` is how many seconds the balancer may hold
        the response. Failed where the balancer cannot be reached or refuses, with its reason.
        """
        if content is None and body is not None:
            content, kind = json.dumps(_given(body)).encode(), "application/json"
        try:
            with self._answered(method, path, params, content, kind, SECONDS + wait) as said:
                text = said.text()
        except Unanswered as exc:
            raise self._unreachable(exc) from exc
        self._judge(said, text)
        self._pass_on(said.fields.get("lb-warning"))
        return self._answer(said, text)

    def _answered(
        self,
        method: str,
        path: str,
        params: Mapping[str, object] | None,
        content: bytes | None,
        kind: str,
        patience: float,
    ) -> AbstractContextManager[Said]:
        """The answer as it comes."""
        query = urlencode({name: _text(value) for name, value in _given(params).items()})
        fields = {"Accept": "*/*"}
        if kind:
            fields["Content-Type"] = kind
        if self.where.token is not None:
            fields["Authorization"] = f"Bearer {self.where.token}"
        target = f"{path}?{query}" if query else path
        return http_calls.answered(self.where, Asked(method, target, fields, content), patience)

    def _pass_on(self, warning: str | None) -> None:
        """Print the warning of an answer, unless the one before it had the same."""
        if warning and warning != self._warned:
            warn(printable(warning))
        self._warned = warning

    def events(self, *types: str) -> Iterator[Event]:
        """The events of these types as they come. The end of the stream is a Failed."""
        try:
            asked = {"types": ",".join(types)}
            with self._answered("GET", "/events", asked, None, "", SILENCE_SECONDS) as said:
                self._judge(said, "" if said.is_success else said.text())
                yield from parsed(lines(said.pieces))
        except Unanswered as exc:
            raise self._unreachable(exc) from exc
        raise Failed(f"{self.where} has ended the stream of events; try again")

    def _answer(self, said: Said, text: str) -> Answer:
        answer = Answer(said.status, text)
        try:
            if "json" in said.fields.get("content-type", ""):
                _ = answer.json
        except ValueError as exc:
            raise self._not_a_balancer(said.status, text) from exc
        return answer

    def _judge(self, said: Said, text: str) -> None:
        if said.is_success and VERSION_FIELD.lower() in said.fields:
            return
        problem = _problem(text)
        if problem is None or said.is_success:
            raise self._not_a_balancer(said.status, text)
        raise Failed(_described(problem, said.status), _code(said.status))

    def _unreachable(self, exc: Exception) -> Failed:
        alert = "" if self.where.tls is None else _alert(exc)
        why = printable(exc) or alert or type(exc).__name__
        hint = f"is lb running there? --admin or {ADDRESS_VARIABLE} names another place"
        if "ostname mismatch" in why or "IP address mismatch" in why:
            hint = f"--admin or {ADDRESS_VARIABLE} has to name it as its certificate does"
        elif "ALERT" in why.upper():
            hint = f"is it our certificate, of --cert or {CERT_VARIABLE}? lb why --tls there says more"
        elif "CERTIFICATE_VERIFY_FAILED" in why:
            hint = f"--ca FILE or {CA_VARIABLE} names those who have issued its certificate"
        return Failed(f"cannot reach {self.where}: {why}\n{hint}")

    def _not_a_balancer(self, status: int, text: str) -> Failed:
        if self.where.tls is None and "speaks TLS" in text[:LONGEST_ANSWER]:
            return Failed(
                f"{self.where} speaks TLS\n--admin or {ADDRESS_VARIABLE} has to begin with https://"
            )
        says = f"{self.where} answers {status}, and not as the API of a balancer does"
        return Failed(f"{says}\nis that its admin address? --admin or {ADDRESS_VARIABLE} names another place")


def _alert(exc: BaseException) -> str:
    """What the balancer has said of our part of the handshake, which may come with the first answer only."""
    import ssl

    cause: BaseException | None = exc
    while cause is not None and not isinstance(cause, ssl.SSLError):
        cause = cause.__cause__ or cause.__context__
    return "" if cause is None else printable(cause.reason or cause).replace("_", " ").lower()


def path_of(collection: str, item: str, *more: str) -> str:
    """The path of the item with this id. Failed for ids such as "..", which would name another path."""
    if item in ("", ".", ".."):
        raise Failed(f"{collection.strip('/')}: there is none with the id {item!r}", Code.NOT_THERE)
    return "/".join([collection, quote(item, safe=""), *more])


def lines(chunks: Iterable[bytes]) -> Iterator[str]:
    """The lines of a stream. Only LF ends a line; `str.splitlines` would split JSON at U+2028 too."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        yield from (line.decode(errors="replace") for line in whole)


def parsed(lines: Iterable[str]) -> Iterator[Event]:
    """The events in the lines of a stream (HTML standard, section 9.2); only `event` and `data` are read.

    The event `ending` says why the stream ends; it becomes a Failed.
    """
    kind, data = "", ""
    for line in lines:
        name, _, value = line.partition(": ")
        if name == "event":
            kind = value
        elif name == "data":
            data = value
        elif not line and data:
            if kind == "ending":
                raise Failed(f"the balancer has ended the stream: {printable(json.loads(data)['why'])}")
            yield Event(kind, data)
            kind, data = "", ""


def _given(values: Mapping[str, object] | None) -> dict[str, object]:
    return {name: value for name, value in (values or {}).items() if value is not None}


def _text(value: object) -> str:
    """A value as the query has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _problem(text: str) -> Mapping[str, Any] | None:
    """The problem+json in a text; None where it is something else."""
    try:
        problem = json.loads(text)
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and "title" in problem else None


def _described(problem: Mapping[str, Any], status: int) -> str:
    """What is wrong and what to do about it, on one line or a few."""
    if status == 401:
        hint = f"--token-file FILE or {TOKEN_VARIABLE} has it, or --cert FILE a certificate in its place"
        return f"the balancer asks for a token, or for another one\n{hint}"
    errors = problem.get("errors") or []
    first = printable(problem.get("detail") or problem["title"])
    lines = [_mistake(error) for error in errors[:MOST_ERRORS]]
    if (more := len(errors) - MOST_ERRORS) > 0:
        lines.append(f"and {more} more")
    if len(lines) == 1:
        return first if _says_it_all(first, errors[0]) else f"{first}: {lines[0]}"
    return "\n  ".join([first, *lines])


def _says_it_all(text: str, error: Mapping[str, Any]) -> bool:
    """The text has what the one mistake says, as where it is the message about a whole file."""
    detail = printable(error.get("detail") or "")
    return bool(detail) and text.endswith(detail) and not error.get("hint")


def _mistake(error: Mapping[str, Any]) -> str:
    where = str(error.get("parameter") or error.get("pointer") or "").removeprefix("#/")
    if error.get("line"):
        where = f"line {error['line']}: {where}"
    hint = f", {error['hint']}" if error.get("hint") else ""
    return printable(f"{where}: {error.get('detail', '')}{hint}" if where else f"{error.get('detail')}{hint}")


def _code(status: int) -> Code:
    if status == 404:
        return Code.NOT_THERE
    return Code.REFUSED if status < 500 else Code.FAILED
