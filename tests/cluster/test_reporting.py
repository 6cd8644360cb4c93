"""What a balancer tells the others of its backends. No etcd is asked."""

from collections.abc import Iterator

import msgspec
import pytest

from lb.core.health.probe_verdict import Check
from lb.settings.backend_spec import BackendSpec
from lb.settings.pool_settings import Probe
from tests.cluster.balancers import ABalancer

PROBE = Probe(path="/healthz", fall=2, rise=1)


@pytest.fixture
def one() -> Iterator[ABalancer]:
    there = ABalancer("lb-0", ["http://127.0.0.1:1"])
    _probed(there, PROBE)
    yield there
    there.etcd.close()


def _probed(one: ABalancer, probe: Probe | None) -> None:
    pool = one.registry.pool("default")
    one.registry.configure(pool, msgspec.structs.replace(pool.settings, probe=probe))


def _check(one: ABalancer, id: str, *results: bool) -> None:
    for ok in results:
        one.registry.checked(one.registry.backend(id), Check(ok=ok, why="", seconds=0.0, at=0.0))


def test_a_backend_is_down_until_it_is_up_again(one: ABalancer) -> None:
    _check(one, "a", False)
    assert one.reporting.status().down == ()
    _check(one, "a", False)
    assert one.reporting.status().down == ("a",)
    _check(one, "b", False, False)
    assert one.reporting.status().down == ("a", "b")
    _check(one, "a", True)
    assert one.reporting.status().down == ("b",)


def test_one_that_is_removed_is_not_down(one: ABalancer) -> None:
    _check(one, "a", False, False)
    one.registry.remove(one.registry.backend("a"))
    assert one.reporting.status().down == ()


def test_one_whose_pool_has_no_probe_any_more_is_not_down(one: ABalancer) -> None:
    _check(one, "a", False, False)
    _probed(one, None)
    assert one.reporting.status().down == ()


def test_one_that_begins_down_is_down(one: ABalancer) -> None:
    _probed(one, msgspec.structs.replace(PROBE, initial="down"))
    one.registry.add(BackendSpec(id="new", url="http://new.test:80"), "default", "api")
    assert one.reporting.status().down == ("new",)


def test_those_that_were_down_before_are_told_too(one: ABalancer) -> None:
    _check(one, "a", False, False)
    again = type(one.reporting)(one.member, one.store, one.registry)
    assert again.status().down == ("a",)


def test_of_many_that_are_down_some_are_told(one: ABalancer) -> None:
    _probed(one, msgspec.structs.replace(PROBE, initial="down"))
    for number in range(60):
        one.registry.add(BackendSpec(id=f"n{number}", url="http://new.test:80"), "default", "api")
    assert len(one.reporting.status().down) == 50
