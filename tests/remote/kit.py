"""A scripted admin API, and a terminal that runs commands against it."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest

from lb import cli
from lb.remote.address import Where
from lb.remote.http_calls import Asked, Said

VERSION = {"lb-version": "0.1.0"}


class Scripted(NamedTuple):
    """A response that is still to be given."""

    status: int
    body: bytes
    fields: Mapping[str, str] = MappingProxyType({})


class Script:
    """Answers requests one by one with scripted responses. `asked` lists them as `METHOD target`."""

    def __init__(self) -> None:
        self.answers: list[Scripted | BaseException | type[BaseException]] = []
        self.requests: list[Asked] = []

    def says(self, body: object = None, status: int = 200, warning: str | None = None) -> "Script":
        content = b"" if body is None else json.dumps(body).encode()
        fields = {"content-type": "application/json", **VERSION}
        fields |= {} if warning is None else {"lb-warning": warning}
        self.answers.append(Scripted(status, content, fields))
        return self

    def says_text(self, text: str, kind: str = "text/plain", status: int = 200) -> "Script":
        self.answers.append(Scripted(status, text.encode(), {"content-type": kind, **VERSION}))
        return self

    def streams(self, *events: tuple[str, Any]) -> "Script":
        text = "".join(f"id: 1\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in events)
        return self.says_text(f": hello\nretry: 2000\n\n{text}", "text/event-stream")

    def fails(self, error: BaseException | type[BaseException]) -> "Script":
        self.answers.append(error)
        return self

    def refuses(self, status: int, detail: str | None = None, errors: object = ()) -> "Script":
        return self.says({"title": "A title", "status": status, "detail": detail, "errors": errors}, status)

    @contextmanager
    def __call__(self, _where: Where, asked: Asked, _patience: float) -> Iterator[Said]:
        self.requests.append(asked)
        answer = self.answers.pop(0)
        if not isinstance(answer, Scripted):
            raise answer
        yield Said(answer.status, answer.fields, iter([answer.body]))

    @property
    def asked(self) -> list[str]:
        return [f"{each.method} {each.target}" for each in self.requests]


class Terminal:
    """Runs commands against a script. `lb(...)` checks the exit code; `out` and `err` are its output."""

    def __init__(self, script: Script, capsys: pytest.CaptureFixture[str]) -> None:
        self.balancer = script
        self._capsys = capsys
        self.out = self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        """The text on stdout."""
        ended = cli.main(arguments)
        self.out, self.err = self._capsys.readouterr()
        assert ended == code, (self.out, self.err)
        assert not self.balancer.answers, "it asked for less than it was to"
        return self.out


def backend(state: str = "ready", drain: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """One backend as the API shows it, with the fields that the commands read."""
    status = {"state": state, "drain": drain}
    facts = {"id": "web1", "url": "http://10.0.0.1:8000", "pool": "default", "weight": 1}
    return {**facts, "admin_state": state, "status": status, **more}


def drain(remaining: int, outcome: str | None = None, aborted: int = 0) -> dict[str, Any]:
    """The progress of a drain of three requests."""
    return {
        "remaining": remaining,
        "started_with": 3,
        "deadline_seconds": None if outcome else 59.5,
        "duration_seconds": 4.2,
        "aborted": aborted,
        "outcome": outcome,
    }


def draining(remaining: int) -> dict[str, Any]:
    return backend("draining", drain(remaining))


def drained(aborted: int = 0) -> dict[str, Any]:
    return backend("draining", drain(0, "timeout" if aborted else "completed", aborted))


def request(**more: Any) -> dict[str, Any]:
    """One recorded request as the API shows it: refused by one backend, cut off by another."""
    first = {
        **{"backend": "web2", "reused": False, "is_beaten": False, "error": "connection_refused"},
        **{"started_ms": 0.0, "connected_ms": None, "first_byte_ms": None, "ended_ms": 10.0},
        "passed_over": [{"backend": "web1", "why": "draining"}],
        "passed_over_count": 1,
    }
    second = {
        **{"backend": "web3", "reused": True, "is_beaten": False, "error": "http_response_incomplete"},
        **{"started_ms": 10.0, "connected_ms": None, "first_byte_ms": 20.0, "ended_ms": 40.0},
        "passed_over": [],
        "passed_over_count": 0,
    }
    facts = {
        **{"id": "r1", "method": "GET", "target": "/cart", "status": 502, "error": "connection_refused"},
        **{"pool": "default", "policy": "round_robin", "client": "127.0.0.1:5", "explain": "It was refused."},
        **{"started": "2026-11-22T10:00:00.000Z", "ended": "2026-11-22T10:00:00.040Z"},
        "timings_ms": {"queue": 0.0, "connect": None, "first_byte": None, "total": 40.0},
        "attempts": [first, second],
    }
    return {**facts, **more}
