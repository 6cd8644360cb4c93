"""Calls of the admin API and its stream of events. Every error becomes a `Failed`.

A call may take as long as the balancer was asked to wait, and SECONDS more. Proxies named in the environment
are not used, because a request with an admin token should reach only the balancer.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx

from lb.remote.address import ADDRESS_VARIABLE, Where
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, warn
from lb.settings.balancer_settings import TOKEN_VARIABLE

SECONDS = 10.0
SILENCE_SECONDS = 45.0
"""The longest silence of a stream of events, which has a ping every 15 s."""
MOST_ERRORS = 5
VERSION_FIELD = "Lb-Version"
"""A field that every response of the API has."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A successful response: its body as text and as JSON (None without a body)."""

    status: int
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.text) if self.text else None


@dataclass(frozen=True, slots=True)
class Event:
    """One event of the stream."""

    type: str
    text: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - JSON
        return json.loads(self.text)


def transport(where: Where) -> httpx.BaseTransport:
    return httpx.HTTPTransport(uds=where.socket)


class Remote:
    """The admin API of one balancer. A context manager that closes its connections."""

    def __init__(self, where: Where) -> None:
        self.where = where
        token = {} if where.token is None else {"Authorization": f"Bearer {where.token}"}
        self._http = httpx.Client(
            base_url=where.url, headers=token, transport=transport(where), trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        params: Mapping[str, object] | None = None,
        body: Mapping[str, object] | None = None,
        wait: float = 0.0,
    ) -> Answer:
        """Make one call. Parameters and fields of the body that are None are left out.

        `wait` is how many seconds the balancer may hold the response. Failed where the balancer cannot be
        reached or refuses, with its reason.
        """
        try:
            response = self._http.request(
                method, path, params=_given(params), json=_given(body), timeout=SECONDS + wait
            )
        except (httpx.TransportError, httpx.InvalidURL) as exc:
            raise self._unreachable(exc) from exc
        self._judge(response)
        if warning := response.headers.get("Lb-Warning"):
            warn(printable(warning))
        return self._answer(response)

    def events(self, *types: str) -> Iterator[Event]:
        """The events of these types as they come. The end of the stream is a Failed."""
        timeout = httpx.Timeout(SECONDS, read=SILENCE_SECONDS)
        try:
            with self._http.stream(
                "GET", "/events", params={"types": ",".join(types)}, timeout=timeout
            ) as response:
                if response.is_error:
                    response.read()
                self._judge(response)
                yield from parsed(lines(response.iter_bytes()))
        except httpx.TransportError as exc:
            raise self._unreachable(exc) from exc
        raise Failed(f"{self.where} has ended the stream of events; try again")

    def _answer(self, response: httpx.Response) -> Answer:
        answer = Answer(response.status_code, response.text)
        try:
            if "json" in response.headers.get("Content-Type", ""):
                _ = answer.json
        except ValueError as exc:
            raise self._not_a_balancer(response) from exc
        return answer

    def _judge(self, response: httpx.Response) -> None:
        if response.is_success and VERSION_FIELD in response.headers:
            return
        problem = _problem(response)
        if problem is None or response.is_success:
            raise self._not_a_balancer(response)
        raise Failed(_described(problem, response.status_code), _code(response.status_code))

    def _unreachable(self, exc: Exception) -> Failed:
        why = printable(exc) or type(exc).__name__
        hint = f"is lb running there? --admin or {ADDRESS_VARIABLE} names another place"
        return Failed(f"cannot reach {self.where}: {why}\n{hint}")

    def _not_a_balancer(self, response: httpx.Response) -> Failed:
        says = f"{self.where} answers {response.status_code}, and not as the API of a balancer does"
        return Failed(f"{says}\nis that its admin address? --admin or {ADDRESS_VARIABLE} names another place")


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


def _given(values: Mapping[str, object] | None) -> dict[str, Any] | None:
    return None if values is None else {name: value for name, value in values.items() if value is not None}


def _problem(response: httpx.Response) -> Mapping[str, Any] | None:
    """The problem+json of a response; None where it is something else."""
    try:
        problem = response.json()
    except ValueError:
        return None
    return problem if isinstance(problem, dict) and "title" in problem else None


def _described(problem: Mapping[str, Any], status: int) -> str:
    """What is wrong and what to do about it, on one line or a few."""
    if status == 401:
        return (
            f"the balancer asks for a token, or for another one\n--token-file FILE or {TOKEN_VARIABLE} has it"
        )
    errors = problem.get("errors") or []
    first = printable(problem.get("detail") or problem["title"])
    lines = [_mistake(error) for error in errors[:MOST_ERRORS]]
    if (more := len(errors) - MOST_ERRORS) > 0:
        lines.append(f"and {more} more")
    if len(lines) == 1:
        return f"{first}: {lines[0]}"
    return "\n  ".join([first, *lines])


def _mistake(error: Mapping[str, Any]) -> str:
    where = str(error.get("parameter") or error.get("pointer") or "").removeprefix("#/")
    hint = f", {error['hint']}" if error.get("hint") else ""
    return printable(f"{where}: {error.get('detail', '')}{hint}" if where else f"{error.get('detail')}{hint}")


def _code(status: int) -> Code:
    if status == 404:
        return Code.NOT_THERE
    return Code.REFUSED if status < 500 else Code.FAILED
