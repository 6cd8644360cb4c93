"""Who may do what: tokens with scopes, from a file that is read again when it changes."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import structlog
import trio
import trio.testing

from admin.application import operations
from lb.control import Control
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Answer, Api, Saves, make_control

TOKENS = "watch read w4tch\nroll drain r0ll\nboss admin b0ss\n"
SINGLE = "s1ngle"

Write = Callable[[str], None]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


@pytest.fixture
def write(file: Path) -> Write:
    """Each version is a second younger than the one before."""
    times = iter(range(1_700_000_000, 1_800_000_000))

    def write(text: str) -> None:
        file.write_text(text)
        file.chmod(0o600)
        os.utime(file, (0, next(times)))

    return write


@pytest.fixture
async def control(saves: Saves, file: Path, write: Write) -> Control:
    write(TOKENS)
    control = make_control(saves, AdminConfig(tokens_file=str(file)))
    for name in ("web1", "web2"):
        control.registry.add(BackendSpec(id=name, url="http://10.0.0.1"), source="config")
    return control


@pytest.fixture
async def api(control: Control) -> Api:
    return Api(control, SINGLE)


def bearing(token: str) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token}"}


READING = [("GET", "/backends"), ("GET", "/config"), ("GET", "/stats"), ("POST", "/config/validate")]
DRAINING = [
    ("POST", "/backends/web1/drain"),
    ("POST", "/backends/web1/ready"),
    ("POST", "/backends/web1/maintenance"),
    ("POST", "/backends/web1/check"),
    ("POST", "/drain"),
    ("DELETE", "/drain"),
    ("DELETE", "/requests/none"),
]
STEERING = [
    ("POST", "/backends"),
    ("PUT", "/backends"),
    ("PUT", "/backends/web1"),
    ("PATCH", "/backends/web1"),
    ("PATCH", "/pools/default"),
    ("POST", "/config/reload"),
    ("GET", "/audit"),
    ("POST", "/backends/web1/drain?then=remove"),
    ("POST", "/drain?exit=true"),
    ("DELETE", "/backends/web1"),
]


@pytest.mark.parametrize(
    ("token", "allowed"),
    [
        ("w4tch", READING),
        ("r0ll", [*READING, *DRAINING]),
        ("b0ss", [*READING, *DRAINING, *STEERING]),
        (SINGLE, [*READING, *DRAINING, *STEERING]),
    ],
)
async def test_each_scope_reaches_so_far_and_no_further(
    api: Api, control: Control, token: str, allowed: list[tuple[str, str]]
) -> None:
    revision = control.registry.revision
    for method, path in set([*READING, *DRAINING, *STEERING]) - set(allowed):
        answer = await api(method, path, headers=bearing(token))
        assert (answer.status, answer.json["type"]) == (403, "/problems/forbidden"), path
        assert "needs a token of scope " in answer.json["detail"]
    assert control.registry.revision == revision
    assert control.drain is None
    for method, path in allowed:
        assert (await api(method, path, headers=bearing(token))).status not in (401, 403, 500), path


async def test_what_it_needs_is_said(api: Api) -> None:
    answer = await api("POST", "/backends/web1/drain", headers=bearing("w4tch"))
    assert (
        answer.json["detail"] == "POST /backends/{id}/drain needs a token of scope drain; this one has read"
    )
    assert (await api("DELETE", "/backends/web1", headers=bearing("nobody"))).status == 401
    assert (await api("GET", "/healthz")).status == 200


async def test_a_flood_of_strangers_hides_nobody_who_is_known(api: Api) -> None:
    for _ in range(3):
        await api("GET", "/info", headers=bearing("gu3ss"))
    await api("POST", "/drain", headers=bearing("w4tch"))
    items = (await api("GET", "/audit", headers=bearing("b0ss"))).json["items"]
    assert [(each["who"], each["status"]) for each in items] == [("watch", 403), ("anonymous", 401)]


async def test_every_operation_has_its_scope_in_openapi(api: Api, control: Control) -> None:
    document = (await api("GET", "/openapi.json", headers=bearing("w4tch"))).json
    for each in operations(control):
        said = document["paths"][each.path][each.method.lower()]["security"][0]
        assert said == ({} if each.is_open else {"token": [each.scope]})


async def test_without_any_token_everybody_may_do_everything(saves: Saves) -> None:
    api = Api(make_control(saves))
    assert (await api("POST", "/backends", form="url=http://10.0.0.1")).status == 201
    assert (await api("GET", "/audit")).json["items"][0]["who"] == "anonymous"


async def test_no_token_is_in_the_configuration(api: Api) -> None:
    for path in ("/config", "/config?format=toml", "/openapi.json", "/audit"):
        body = (await api("GET", path, headers=bearing("b0ss"))).body
        assert not [token for token in (b"w4tch", b"r0ll", b"b0ss", SINGLE.encode()) if token in body]


async def test_the_file_is_read_again_when_it_has_changed(
    api: Api, write: Write, autojump_clock: trio.testing.MockClock
) -> None:
    async def status(token: str) -> int:
        return (await api("GET", "/info", headers=bearing(token))).status

    assert [await status("w4tch"), await status("n3w")] == [200, 401]
    write("fresh read n3w\n")
    assert [await status("w4tch"), await status("n3w")] == [200, 401]  # looked at once a second at most
    await trio.sleep(1)
    assert [await status("w4tch"), await status("n3w"), await status(SINGLE)] == [401, 200, 200]


@pytest.mark.parametrize("text", ["", "fresh wizard n3w\n", None])
async def test_a_bad_file_is_logged_once_and_keeps_who_was_known(
    api: Api, write: Write, file: Path, autojump_clock: trio.testing.MockClock, text: str | None
) -> None:
    assert (await api("GET", "/info", headers=bearing("w4tch"))).status == 200
    if text is None:
        os.unlink(file)
    else:
        write(text)
    with structlog.testing.capture_logs() as logged:
        for _ in range(3):
            await trio.sleep(1)
            assert (await api("GET", "/info", headers=bearing("w4tch"))).status == 200
            assert (await api("GET", "/info", headers=bearing("n3w"))).status == 401
    said = [line for line in logged if line["event"].startswith("tokens not read")]
    assert len(said) == 1
    assert "n3w" not in str(logged)


async def test_a_file_that_is_bad_from_the_start_lets_nobody_in(saves: Saves, tmp_path: Path) -> None:
    api = Api(make_control(saves, AdminConfig(tokens_file=str(tmp_path / "none"))))
    answers: list[Answer] = [await api("GET", "/info"), await api("GET", "/info", headers=bearing("x"))]
    assert [answer.status for answer in answers] == [401, 401]


async def test_each_known_token_is_compared(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append(one)
        return one == other

    monkeypatch.setattr("admin.security.keyring.hmac.compare_digest", compare)
    for token in (SINGLE, "b0ss", "nobody"):
        compared.clear()
        await api("GET", "/info", headers=bearing(token))
        assert len(set(compared)) == 4
