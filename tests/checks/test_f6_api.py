"""Faults f6.12 and f6.15: pages of other sites, and a drain that is taken back."""

import json

import pytest
import trio

from lb.control import Control
from lb.remote.api import Answer
from lb.remote.drain_wait import Seen, verdict
from lb.remote.exits import Code, Failed
from lb.settings.backend_spec import BackendSpec
from tests.admin.kit import Api, Holder, Saves, is_problem, make_control
from tests.remote.kit import backend as shown
from tests.remote.kit import drain as progress


@pytest.fixture
async def control() -> Control:
    return make_control(Saves())


@pytest.fixture
async def api(control: Control) -> Api:
    return Api(control)


READING = ["/backends", "/stats", "/metrics", "/config", "/openapi.json", "/info", "/audit", "/no-such-path"]
LINK = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}


@pytest.mark.parametrize("path", READING)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Origin": "https://evil.test"},
        {"Origin": "null"},
        LINK,
    ],
    ids=["an image", "anything", "CORS", "a sandbox", "a link"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
async def test_f6_12_a_foreign_page_reads_nothing(
    api: Api,
    path: str,
    headers: dict[str, str],
    method: str,
) -> None:
    answer = await api(method, path, headers=headers)
    assert answer.status == 403
    if method == "GET":
        assert is_problem(answer)


async def test_f6_12_a_link_to_the_page_works_and_a_frame_of_it_does_not(api: Api) -> None:
    assert (await api("GET", "/", headers=LINK)).status == 200
    assert (await api("GET", "/", headers={**LINK, "Sec-Fetch-Dest": "iframe"})).status == 403
    assert (await api("GET", "/", headers={**LINK, "Sec-Fetch-Mode": "cors"})).status == 403
    assert (await api("POST", "/", headers=LINK)).status == 403
    assert (await api("GET", "/", headers={**LINK, "Origin": "https://evil.test"})).status == 403


@pytest.mark.parametrize("site", ["none", "same-origin"])
async def test_f6_12_a_bookmark_and_our_own_page_read_everything(api: Api, site: str) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    for path in ("/", "/backends", "/stats"):
        assert (await api("GET", path, headers=headers)).status == 200


async def test_f6_12_a_probe_may_come_from_anywhere(api: Api) -> None:
    assert (await api("GET", "/healthz", headers={"Sec-Fetch-Site": "cross-site"})).status == 200


# -- a drain that is taken back ----------------------------------------------------------------------------

WAITS = [
    ("POST", "/backends/web1/drain?wait=30s"),
    ("DELETE", "/backends/web1?wait=30s"),
    ("GET", "/backends/web1?wait=drained"),
    ("GET", "/backends/web1?wait=drained&format=table"),
]


@pytest.mark.parametrize("wish", ["ready", "maintenance"])
@pytest.mark.parametrize(("method", "path"), WAITS)
async def test_f6_15_whoever_waits_learns_that_it_was_taken_back(
    api: Api,
    control: Control,
    method: str,
    path: str,
    wish: str,
) -> None:
    backend, _ = control.registry.add(BackendSpec(id="web1", url="http://10.0.0.1"))
    backend.running.add(Holder(lambda _holder: None))
    await api("POST", "/backends/web1/drain")
    drain = backend.drain
    assert drain is not None
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def take_back() -> None:
            while not drain._waiting:
                await trio.lowlevel.checkpoint()
            getattr(control.registry, wish)(backend)

        answer = await api(method, path)
    assert answer.status == 409
    assert answer.json["detail"] == f"the drain was taken back: 'web1' is {wish}"
    again = await api("GET", "/backends/web1?wait=drained")  # nothing to wait for, so no conflict
    assert (again.status, again.json["admin_state"]) == (200, wish)


@pytest.mark.parametrize(("state", "words"), [("ready", "is ready"), ("maintenance", "is in maintenance")])
def test_f6_15_a_command_that_waited_fails(state: str, words: str) -> None:
    answer = Answer(200, json.dumps(shown(state, progress(0, "cancelled"))))
    with pytest.raises(Failed, match=f"the drain of web1 was taken back: it {words}") as caught:
        verdict("web1", Seen(answer))
    assert caught.value.code is Code.REFUSED
