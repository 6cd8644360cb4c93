"""What would be lost if another etcd were followed, and what may be deleted from one that is."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from lb.cluster.another_history import Held, losing
from lb.cluster.shared_wishes import BackendWish, PoolWish, Stamp, Wish, backend_key, encoded, pool_key
from lb.cluster.sweeping import OLD, sweeping
from lb.etcd.etcd_messages import KeyValue
from lb.slices import at_once
from tests.cluster.test_shared_wishes import CONFIGURED

A_KEY, X_KEY, POOL_KEY = backend_key("default", "a"), backend_key("web", "x"), pool_key("web")
EARLY, LATE = "2026-11-27T14:00:00Z", "2026-11-27T15:00:00Z"
DRAINING = BackendWish(admin_state="draining", at=EARLY)
READY = BackendWish(at=EARLY)
NOW = datetime(2026, 12, 31, tzinfo=UTC)


def lost(wish: Wish, *there: Wish | bytes, key: str = A_KEY) -> dict[str, Held]:
    values = [each if isinstance(each, bytes) else encoded(each, Stamp(at=each.at)) for each in there]
    keys = [KeyValue(key=key.encode(), value=value, mod_revision=3) for value in values]
    return at_once(losing({key: wish}, dict(zip([key], keys, strict=False)), CONFIGURED))


def test_what_has_an_effect_and_is_not_there_is_lost() -> None:
    assert lost(DRAINING) == {A_KEY: Held("it is not there", 0)}
    assert lost(PoolWish(settings={"queue": 3}), key=POOL_KEY).keys() == {POOL_KEY}


@pytest.mark.parametrize(
    ("key", "wish"), [(A_KEY, READY), (X_KEY, BackendWish(admin_state="removed")), (POOL_KEY, PoolWish())]
)
def test_what_has_no_effect_is_not(key: str, wish: Wish) -> None:
    assert lost(wish, key=key) == {}


def test_what_is_there_too_is_not_lost() -> None:
    assert lost(DRAINING, msgspec.structs.replace(DRAINING, at="", by="restore")) == {}


def test_of_two_the_later_one_holds() -> None:
    assert lost(DRAINING, BackendWish(at=LATE)) == {}
    held = {A_KEY: Held("another one is there, which is no newer", 3)}
    assert lost(DRAINING, BackendWish(at=EARLY)) == held
    assert lost(DRAINING, BackendWish()) == held


def test_what_cannot_be_read_there_changes_nothing_here() -> None:
    assert lost(DRAINING, b'{"canary": true}') == {}


# -- what may be deleted ---------------------------------------------------------------------------------


def swept(wish: Wish, *digests: str, key: str = A_KEY) -> list[str]:
    return at_once(sweeping({key: wish}, CONFIGURED, digests or ("c1", "c1"), NOW))


def at(age: timedelta) -> str:
    return (NOW - age).isoformat().replace("+00:00", "Z")


def test_what_is_old_and_has_no_effect_may_be_deleted() -> None:
    assert swept(BackendWish(at=at(OLD + timedelta(seconds=1)))) == [A_KEY]
    assert swept(BackendWish(at=at(OLD))) == []


@pytest.mark.parametrize(
    "wish", [DRAINING, BackendWish(patch={"weight": 2}), BackendWish(admin_state="removed")]
)
def test_what_has_an_effect_may_not(wish: BackendWish) -> None:
    assert swept(msgspec.structs.replace(wish, at=at(2 * OLD))) == []


def test_what_was_removed_and_is_not_configured_may_be() -> None:
    assert swept(BackendWish(admin_state="removed", drain=3.0, at=EARLY), key=X_KEY) == [X_KEY]


@pytest.mark.parametrize("when", ["", "yesterday", "2026-01-01T00:00:00"])
def test_one_that_does_not_say_when_may_be_new(when: str) -> None:
    assert swept(BackendWish(at=when)) == []


@pytest.mark.parametrize("digests", [("c1", "c2"), ("c1", "")])
def test_nothing_is_deleted_while_configurations_differ(digests: tuple[str, ...]) -> None:
    """Where another balancer still has the backend configured, it would come back there."""
    assert swept(BackendWish(admin_state="removed", at=EARLY), *digests, key=X_KEY) == []
