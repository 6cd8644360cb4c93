"""Endpoints that come and go, as the API server tells of them, and all that it may do wrong."""

from pathlib import Path

import pytest
import trio
import trio.testing

from lb.discovery.kubernetes import KubernetesSource
from tests.kit import answer, virtual_time
from tests.kit.balancer import open_sockets
from tests.kit.cancel import cancelled_everywhere
from tests.kit.kubernetes_server import ScriptedKubernetes, a_slice, endpoint, status
from tests.kit.scripted import CHUNKED, SILENCE, ScriptedServer, chunk, in_json
from tests.kit.sources import Told, running_source

pytestmark = virtual_time
ONE = endpoint("web-1", "10.0.0.1")
TWO = endpoint("web-2", "10.0.0.2")
LEAVING = endpoint("web-1", "10.0.0.1", ready=False, serving=True, terminating=True)


def source(server: ScriptedServer, where: str = "shop/web:http") -> KubernetesSource:
    return KubernetesSource(where, api=server.url)


async def test_changes_are_told_at_once() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until_here(web_1="here")
        began = trio.current_time()
        await api.changes(a_slice("web-a", ONE, TWO), cut=30)
        await told.until_here(web_1="here", web_2="here")
        await api.changes(a_slice("web-a", LEAVING, TWO))
        await told.until_here(web_1="leaving", web_2="here")
        await api.changes(a_slice("web-b", endpoint("web-3", "10.0.0.3")), "ADDED")
        await told.until_here(web_1="leaving", web_2="here", web_3="here")
        await api.changes(a_slice("web-a", LEAVING, TWO), "DELETED")
        await told.until_here(web_3="here")
        assert trio.current_time() - began < 1
        assert api.lists == 1


async def test_a_swarm_of_changes_is_told_once() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        for number in range(50):
            await api.changes(a_slice(f"web-{number}", endpoint(f"p-{number}", f"10.1.0.{number}")), "ADDED")
        await told.until(2)
        assert len(told.here) == 51


async def test_what_the_watch_is_asked() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        await trio.testing.wait_all_tasks_blocked()
        assert api.heard[-1].query == {
            "labelSelector": "kubernetes.io/service-name=web",
            "watch": "1",
            "resourceVersion": "100",
            "allowWatchBookmarks": "true",
            "timeoutSeconds": "290",
        }


async def test_after_its_end_the_list_follows_and_bookmarks_change_nothing() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        for _ in range(4):
            await trio.sleep(60)
            await api.bookmarks()
        assert len(told.sets) == 1
        api.slices["web-a"] = a_slice("web-a", TWO)  # which the watch has missed
        await trio.sleep(50)
        await api.ends_streams()
        await told.until_here(web_2="here")


async def test_a_list_of_several_pages_is_one_set() -> None:
    slices = [a_slice(f"web-{n}", endpoint(f"p-{n}", f"10.1.0.{n}")) for n in range(7)]
    async with ScriptedKubernetes(*slices).running() as api:
        api.page = 2
        async with running_source(source(api)) as told:
            await told.until(1)
            assert len(told.here) == 7
            assert len(told.sets) == 1
        api.expired_pages = 1  # the list is then asked for without a limit
        api.page = 500
        async with running_source(source(api)) as told:
            await told.until(1)
            assert len(told.here) == 7


async def test_pages_that_are_too_old_are_asked_for_all_at_once() -> None:
    slices = [a_slice(f"web-{n}", endpoint(f"p-{n}", f"10.{n >> 8}.{n & 255}.1")) for n in range(1200)]
    async with ScriptedKubernetes(*slices).running() as api:
        api.page, api.expired_pages = 10_000, 1
        async with running_source(source(api)) as told:
            await told.until(1)
            assert len(told.here) == 1200
            assert [asked.query.get("limit") for asked in api.heard[:3]] == ["100", "100", None]


async def test_too_old_in_the_watch_is_followed_by_the_list() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        api.slices["web-a"] = a_slice("web-a", TWO)
        await api.says_error(410, "Expired")
        await told.until_here(web_2="here")
        assert api.lists == 2


async def test_too_old_in_the_place_of_a_watch_is_followed_by_the_list_once() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        api.instead_of_watch = in_json(status(410, "Gone"), status="410 Gone")
        assert "it answered 410" in await told.until_failed()
        assert len(told.sets) == 2


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (in_json(status(403, "Forbidden"), status="403 Forbidden"), "it answered 403: {"),
        (answer(b"oh", status="500 Oh"), "it answered 500: oh"),
        (answer(b"<html>"), "it is no EndpointSlice: "),
        (in_json({"kind": "Status"}), "it is no EndpointSlice: Object missing"),
        (in_json({"metadata": {}, "items": [{}]}), "it is no EndpointSlice: Object missing"),
        (CHUNKED + chunk(b'{"items": ['), "nothing came for 10 s"),
        (SILENCE, "no answer within 10 s"),
    ],
)
async def test_what_is_no_list_is_a_failure_and_no_set(said: bytes, why: str) -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        await trio.sleep(5)
        api.instead.append(said)
        await api.ends_streams()
        failure = await told.until_failed()
        assert why in failure
        assert f"{api.url}: GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices" in failure
        assert len(told.sets) == 1


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"garbage\n", "it is no EndpointSlice: JSON is malformed"),
        (b"[" * 100_000 + b"\n", "it is no EndpointSlice: "),
        (b'{"type": "MODIFIED", "object": {}}\n', "it is no EndpointSlice: Object missing"),
        (
            b'{"type": "ERROR", "object": {"code": 500, "reason": "InternalError", "message": "etcd"}}\n',
            "its watch said 500 InternalError: etcd",
        ),
    ],
)
async def test_what_is_no_change_is_a_failure_and_no_set(line: bytes, why: str) -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        await api.until_open()
        await api.says_line(line)
        assert why in await told.until_failed()
        assert len(told.sets) == 1


async def test_a_watch_that_is_cut_is_a_failure() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        await told.until(1)
        await api.until_open()
        await api.ends_streams(well=False)
        assert "in the middle of its answer" in await told.until_failed()


async def test_a_watch_that_has_not_ended_when_it_should_have_is_a_failure() -> None:
    async with (
        ScriptedKubernetes(a_slice("web-a", ONE)).running() as api,
        running_source(source(api)) as told,
    ):
        began = trio.current_time()
        assert "has not ended when it should have" in await told.until_failed()
        assert trio.current_time() - began == pytest.approx(310, abs=1)


async def test_no_slice_is_an_empty_set_and_told() -> None:
    async with ScriptedKubernetes().running() as api, running_source(source(api)) as told:
        await told.until(1)
        assert told.here == {}
        assert told.last.skipped == ("shop/web:http: there is no EndpointSlice of it",)


@pytest.mark.parametrize(
    "where", ["web", "shop/", "/web", "shop/web:", "Shop/web", "shop/web:http:x", "a/b/c"]
)
async def test_any_other_name_is_refused(where: str) -> None:
    with pytest.raises(ValueError, match="expected NAMESPACE/SERVICE"):
        KubernetesSource(where)


async def test_cancelled_at_any_step_it_leaves_nothing_open() -> None:
    async with ScriptedKubernetes(a_slice("web-a", ONE)).running() as api:
        await trio.testing.wait_all_tasks_blocked()
        before = len(open_sockets())

        async def events() -> None:
            await trio.sleep(1)
            await api.changes(a_slice("web-a", ONE, TWO), cut=9)
            await trio.sleep(10)
            await api.ends_streams()

        async def run() -> None:
            api.streams = []
            async with trio.open_nursery() as nursery:
                nursery.start_soon(events)
                with trio.move_on_after(40):
                    await source(api).run(Told().tell)

        assert await cancelled_everywhere(run, lambda: None) > 10
        await trio.testing.wait_all_tasks_blocked()
        assert len(open_sockets()) == before


# -- in a pod ----------------------------------------------------------------------------------------------


async def test_in_a_pod_all_but_the_service_goes_without_saying() -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    for host, url in (("10.96.0.1", "https://10.96.0.1:6443"), ("fd00::1", "https://[fd00::1]:6443")):
        asked = KubernetesSource("shop/web", environ=environ | {"KUBERNETES_SERVICE_HOST": host})
        assert str(asked._server) == url
        assert asked._server.ca == "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
        assert asked._token_file == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert str(KubernetesSource("shop/web", environ={})._server) == "https://kubernetes.default.svc:443"


async def test_what_is_given_is_not_that_of_the_pod(tmp_path: Path) -> None:
    asked = KubernetesSource("shop/web", environ={}, ca="/ca", token_file="/token")
    assert (asked._server.ca, asked._token_file) == ("/ca", "/token")
    asked = KubernetesSource("shop/web", api="http://a")
    assert (asked._server.ca, asked._token_file) == (None, None)
