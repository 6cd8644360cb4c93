"""A scripted admin API, and a terminal that runs commands against it."""

import json
from typing import Any

import httpx
import pytest

from lb import cli

VERSION = {"Lb-Version": "0.1.0"}


class Script:
    """Answers requests one by one with scripted responses. `asked` lists them as `METHOD target`."""

    def __init__(self) -> None:
        self.answers: list[httpx.Response | Exception | type[BaseException]] = []
        self.requests: list[httpx.Request] = []

    def says(self, body: object = None, status: int = 200, warning: str | None = None) -> "Script":
        content = b"" if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **VERSION}
        headers |= {} if warning is None else {"Lb-Warning": warning}
        self.answers.append(httpx.Response(status, headers=headers, content=content))
        return self

    def says_text(self, text: str, kind: str = "text/plain", status: int = 200) -> "Script":
        headers = {"Content-Type": kind, **VERSION}
        self.answers.append(httpx.Response(status, headers=headers, content=text.encode()))
        return self

    def streams(self, *events: tuple[str, Any]) -> "Script":
        text = "".join(f"id: 1\nevent: {kind}\ndata: {json.dumps(data)}\n\n" for kind, data in events)
        return self.says_text(f": hello\nretry: 2000\n\n{text}", "text/event-stream")

    def fails(self, error: Exception | type[BaseException]) -> "Script":
        self.answers.append(error)
        return self

    def refuses(self, status: int, detail: str | None = None, errors: object = ()) -> "Script":
        return self.says({"title": "A title", "status": status, "detail": detail, "errors": errors}, status)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, httpx.Response):
            return answer
        raise answer

    @property
    def asked(self) -> list[str]:
        return [f"{each.method} {each.url.raw_path.decode()}" for each in self.requests]


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
