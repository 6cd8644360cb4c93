"""Errors between a terminal and a balancer: the message for a person, the exit code for a script."""

import subprocess
import sys
from pathlib import Path

import pytest

from lb import cli
from lb.about import BUILD, VERSION
from lb.remote import address
from lb.remote.address import Where
from lb.remote.exits import Failed
from lb.remote.terminal_text import printable, printable_json
from tests.kit.files import secret
from tests.remote.kit import Scripted, Terminal

ROOT = Path(__file__).parents[2]
MOST_MODULES = 330
"""A tenth more than a command needs, each with a part of the time until it answers."""


def test_a_mistake_in_a_file_has_its_line(lb: Terminal) -> None:
    errors = [
        {"pointer": "#/listen", "line": 1, "detail": "what is wrong"},
        {"pointer": "#/via", "detail": "this too"},
    ]
    lb.balancer.refuses(422, "lb.toml: 2 mistakes", errors)
    lb("reload", code=5)
    assert lb.err.splitlines() == [
        "lb: lb.toml: 2 mistakes",
        "  line 1: listen: what is wrong",
        "  via: this too",
    ]


def test_an_unreachable_balancer(lb: Terminal) -> None:
    lb.balancer.fails(ConnectionRefusedError(111, "Connection refused"))
    lb("backends", code=1)
    assert lb.err.splitlines() == [
        "lb: cannot reach http://127.0.0.1:9000: [Errno 111] Connection refused",
        "is lb running there? --admin or LB_ADMIN names another place",
    ]
    lb.balancer.fails(TimeoutError)
    lb("tap", "--failed", code=1)
    assert "TimeoutError" in lb.err


@pytest.mark.parametrize("status", [200, 404])
def test_an_address_that_is_no_balancer(lb: Terminal, status: int) -> None:
    lb.balancer.answers.append(Scripted(status, b"ok"))
    lb("backends", code=1)
    assert f"answers {status}, and not as the API of a balancer does" in lb.err


def test_a_response_that_is_not_understood(lb: Terminal) -> None:
    lb.balancer.says({"other": 1})
    lb("why", "r1", code=1)
    assert "is not understood (KeyError" in lb.err
    assert "Traceback" not in lb.err
    lb.balancer.says_text("{", "application/json")
    lb("why", "r1", code=1)


@pytest.mark.parametrize(
    ("status", "code"), [(404, 3), (400, 5), (403, 5), (409, 5), (412, 5), (422, 5), (500, 1), (503, 1)]
)
def test_each_refusal_has_its_code(lb: Terminal, status: int, code: int) -> None:
    lb.balancer.refuses(status, "because\x1b[2J")
    lb("backends", "ready", "web1", code=code)
    assert lb.err == "lb: because\\x1b[2J\n"


def test_mistakes_are_named_with_their_place_and_hint(lb: Terminal) -> None:
    url = {"pointer": "#/url", "detail": "scheme must be http or https"}
    field = {"parameter": "timout", "detail": "unknown parameter", "hint": 'did you mean "timeout"?'}
    lb.balancer.refuses(422, None, [url])
    lb("backends", "add", "ftp://x", code=5)
    assert lb.err == "lb: A title: url: scheme must be http or https\n"
    lb.balancer.refuses(422, "not so", [url, field] + [url] * 4)
    lb("backends", "add", "ftp://x", code=5)
    assert lb.err.splitlines()[2] == '  timout: unknown parameter, did you mean "timeout"?'
    assert lb.err.splitlines()[-1] == "  and 1 more"


def test_the_token_is_asked_for_and_sent(
    lb: Terminal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lb.balancer.refuses(401)
    lb("backends", code=5)
    assert lb.err.splitlines()[1] == (
        "--token-file FILE or LB_ADMIN_TOKEN has it, or --cert FILE a certificate in its place"
    )
    secret(tmp_path / "token", "secret\n")
    lb.balancer.says({"items": []})
    lb("backends", "--token-file", str(tmp_path / "token"))
    monkeypatch.setenv("LB_ADMIN_TOKEN", "other")
    lb.balancer.says({"items": []})
    lb("backends")
    sent = [each.fields.get("Authorization") for each in lb.balancer.requests]
    assert sent == [None, "Bearer secret", "Bearer other"]


@pytest.mark.parametrize("content", ["", "two words", None])
def test_invalid_tokens(lb: Terminal, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        secret(tmp_path / "token", content)
    lb("backends", "--token-file", str(tmp_path / "token"), code=2)
    assert "token" in lb.err


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000"),
        ("https://lb.example/admin/", "https://lb.example/admin"),
        (":9001", "http://127.0.0.1:9001"),
        ("0.0.0.0:9001", "http://127.0.0.1:9001"),
        ("[::]:9001", "http://[::1]:9001"),
        ("[::1]:9001", "http://[::1]:9001"),
        ("lb.example:80", "http://lb.example:80"),
    ],
)
def test_an_address_can_be_written_in_many_ways(text: str, url: str) -> None:
    found = address.find(text, environ={})
    assert found._replace(tls=None) == Where(url)
    assert (found.tls is not None) is url.startswith("https://")


@pytest.mark.parametrize(
    "text",
    ["127.0.0.1", "127.0.0.1:0", "fd://3", "unix:", "ftp://h:1", "a b:1", "h:99999", "http://", "h:1\x1b"],
)
def test_invalid_addresses(text: str) -> None:
    with pytest.raises(Failed, match="expected a URL") as caught:
        address.find(text, environ={})
    assert caught.value.code == 2
    assert "\x1b" not in str(caught.value)


def test_where_a_balancer_is_comes_from_flag_variable_file_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert address.find(environ={}) == Where("http://127.0.0.1:9000")
    secret(tmp_path / "secret", "s3cret")
    (tmp_path / "lb.toml").write_text('[admin]\nlisten = "unix:/run/lb.sock"\ntoken_file = "secret"')
    found = address.find(environ={})
    assert found == Where("http://localhost", "/run/lb.sock", "s3cret")
    assert str(found) == "unix:/run/lb.sock"
    assert address.find(environ={"LB_ADMIN": ":1"}) == Where(
        "http://127.0.0.1:1"
    )  # without the token of the file
    assert address.find(":2", environ={"LB_ADMIN": ":1"}) == Where("http://127.0.0.1:2")
    (tmp_path / "lb.toml").write_text("[admin")
    with pytest.raises(Failed, match="--admin or LB_ADMIN"):
        address.find(environ={})


def test_what_cannot_be_printed_is_escaped() -> None:
    assert printable("a\x1b[0m\n\x9b\u202e\U000e0001é") == "a\\x1b[0m\\x0a\\x9b\\u202e\\U000e0001é"
    assert printable_json('{"a":\t"\x7f\u202e\U000e0001"}\n') == '{"a": "\\u007f\\u202e\\udb40\\udc01"}\n'


def test_completion_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for shell in ("bash", "zsh", "fish"):
        file = tmp_path / shell
        script = "from lb import cli; cli.main(['--install-completion', '--shell', %r, '-o', %r])"
        subprocess.run(
            [sys.executable, "-c", script % (shell, str(file))],
            cwd=ROOT,
            env={"HOME": str(tmp_path)},
            check=True,
            capture_output=True,
        )
        assert {"backends", "drain", "tap"} <= set(
            file.read_text().replace("'", " ").replace(":", " ").split()
        )


def imported(*arguments: str) -> set[str]:
    """The modules that a command has imported when it ends."""
    script = (
        f"import sys; from lb import cli; cli.main({[*arguments]!r}); print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split())


def test_running_the_balancer_imports_no_remote_command() -> None:
    assert not {"http.client", "lb.remote", "rich.live"} & imported("run", "--config", "none")


@pytest.mark.parametrize("command", ["status", "backends", "pools", "tap", "drain"])
def test_a_command_that_asks_imports_little(command: str) -> None:
    there = imported(command, "--admin", "127.0.0.1:1")
    heavy = {"httpx", "msgspec", "rich.console", "rich.live", "trio", "h11", "tomllib", "importlib.metadata"}
    assert "http.client" in there
    assert not heavy & there
    assert not {name for name in there if name.startswith("lb.settings.")} - {"lb.settings.admin_defaults"}
    assert len(there) < MOST_MODULES


def test_the_version_is_said_without_what_reads_a_command_line() -> None:
    script = (
        "import sys, lb.__main__ as program; program.main(['--version']); print('cyclopts' in sys.modules)"
    )
    said = subprocess.check_output([sys.executable, "-c", script], cwd=ROOT, text=True)
    assert said == f"trio-lb {VERSION} ({BUILD})\nFalse\n"


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["--help"])
    out = capsys.readouterr().out
    assert all(f" {name} " in out for name in ("backends", "top", "why", "tap", "drain"))
