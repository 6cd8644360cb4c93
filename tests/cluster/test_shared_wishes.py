"""Wishes as keys: what one balancer's operator does is done by all, from any state, whatever was missed."""

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lb.cluster.applied_wishes import Base, applying
from lb.cluster.shared_wishes import (
    BackendWish,
    PoolWish,
    Stamp,
    Wish,
    Wishes,
    backend_key,
    decode,
    encoded,
    in_words,
    named,
    pool_key,
    same,
    to_put,
    wished,
)
from lb.config.state_file import PoolChanges, changes
from lb.core.backend import AdminState
from lb.core.drain import Then
from lb.core.registry import Event, Registry
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import PoolConfig
from lb.settings.pool_settings import PoolSettings, Probe
from lb.slices import at_once
from tests.core.scene import Clock, Request
from tests.core.scene import registry as make_registry

A, B, C, D = (BackendSpec(id=name, url=f"http://{name}.test:80", labels={"zone": "x"}) for name in "abcd")
CONFIGURED = {"default": PoolConfig(backends=(A, B)), "web": PoolConfig(backends=(C,))}
STAMP = Stamp(op="01J", by="deploy", on="lb-3", at="2026-11-27T14:00:00Z")
USUAL = 60.0
A_KEY = backend_key("default", "a")


def balancer(configured: dict[str, PoolConfig] = CONFIGURED) -> Registry:
    registry = make_registry(Clock())
    for name, pool in configured.items():
        registry.add_pool(name, pool.settings)
        for spec in pool.backends:
            registry.add(spec, name, "config")
    return registry


def apply(
    wishes: Wishes, registry: Registry, configured: dict[str, PoolConfig] = CONFIGURED
) -> dict[str, str]:
    return at_once(applying([*wishes], wishes, Base(configured, registry, USUAL)))


def shared(wishes: Wishes) -> dict[str, Wish]:
    """As others read them."""
    return {key: decode(key, encoded(wish, STAMP)) for key, wish in wishes.items()}


def is_busy(registry: Registry, id: str) -> Request:
    """A request runs on the backend and does not end."""
    request = Request()
    registry.backend(id).running.add(request)
    return request


# -- keys and values -------------------------------------------------------------------------------------


def test_keys() -> None:
    assert A_KEY == "wishes/backends/default/a"
    assert named(A_KEY) == ("default", "a")
    assert named(pool_key("web")) == ("web", "")


def test_without_a_wish_there_is_no_key() -> None:
    assert wished(CONFIGURED, balancer()) == {}


def test_each_kind_of_wish() -> None:
    registry = balancer()
    registry.change(registry.backend("a"), msgspec.structs.replace(A, weight=5))
    registry.remove(registry.backend("b"))
    registry.add(D, "web")
    is_busy(registry, "d")
    registry.drain(registry.backend("d"), 30.0)
    registry.maintenance(registry.backend("c"))
    registry.configure(registry.pool("web"), PoolSettings(policy="random"))
    assert wished(CONFIGURED, registry, {"b": 10.0}) == {
        A_KEY: BackendWish(patch={"weight": 5}),
        "wishes/backends/default/b": BackendWish(admin_state="removed", drain=10.0),
        "wishes/backends/web/c": BackendWish(admin_state="maintenance"),
        "wishes/backends/web/d": BackendWish(admin_state="draining", drain=30.0, spec=D),
        "wishes/pools/web": PoolWish(settings={"policy": "random"}),
    }


def test_a_value_says_who_made_it() -> None:
    value = encoded(BackendWish(admin_state="draining", drain=60.0), STAMP)
    assert msgspec.json.decode(value) == {
        "op": "01J",
        "by": "deploy",
        "on": "lb-3",
        "at": "2026-11-27T14:00:00Z",
        "admin_state": "draining",
        "drain": 60.0,
    }
    assert same(decode(A_KEY, value), BackendWish(admin_state="draining", drain=60.0))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "truncated"),
        (b"[]", "Expected `object`"),
        (b'{"admin_state": "gone"}', "Invalid enum value"),
        (b'{"admin_state": "ready", "canary": 5}', "unknown field `canary`"),
        (b'{"spec": {"url": "http://x.test", "id": "b"}}', "its spec is of backend 'b'"),
        (b'{"spec": {"url": "x", "id": "a"}}', "url: 'x'"),
        (b'{"spec": {"url": "http://x.test", "id": "a"}, "patch": {"weight": 1}}', "both a spec and a patch"),
        (b'{"patch": ' + 17 * b'{"a": ' + b"1" + 17 * b"}" + b"}", "nested too deep"),
        (b'{"patch": {"a": ' + 16 * b"[" + 16 * b"]" + b"}}", "nested too deep"),
        (b'{"patch": {"a": ' + 50_000 * b"[", "nested too deep"),
    ],
)
def test_what_cannot_be_read_whole_is_no_wish(value: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        decode(A_KEY, value)


# -- what is put -----------------------------------------------------------------------------------------


def test_only_what_differs_is_put() -> None:
    heavy, drained = BackendWish(patch={"weight": 5}), BackendWish(admin_state="draining")
    before: dict[str, Wish] = {A_KEY: heavy}
    after: dict[str, Wish] = {A_KEY: heavy, "wishes/backends/default/b": drained}
    assert to_put(before, after, CONFIGURED, {}) == {"wishes/backends/default/b": drained}


def test_what_is_as_configured_again_is_put_and_not_deleted() -> None:
    before: dict[str, Wish] = {
        A_KEY: BackendWish(admin_state="draining"),
        "wishes/pools/web": PoolWish(settings={"x": 1}),
    }
    assert to_put(before, {}, CONFIGURED, {}) == {A_KEY: BackendWish(), "wishes/pools/web": PoolWish()}
    assert to_put({A_KEY: BackendWish()}, {}, CONFIGURED, {}) == {}


def test_what_was_added_and_is_gone_is_removed() -> None:
    key = backend_key("web", "d")
    removed = BackendWish(admin_state="removed", drain=5.0)
    assert to_put({key: BackendWish(spec=D)}, {}, CONFIGURED, {"d": 5.0}) == {key: removed}
    assert to_put({key: removed}, {}, CONFIGURED, {}) == {}


# -- what is applied -------------------------------------------------------------------------------------


def test_a_wish_is_one_event_and_again_none() -> None:
    registry, events = balancer(), list[Event]()
    registry.subscribe(events.append)
    for wish, kinds in [
        (BackendWish(patch={"weight": 5}), ["changed"]),
        (BackendWish(patch={"weight": 5}, admin_state="maintenance"), ["maintenance"]),
        (BackendWish(patch={"weight": 5}), ["ready"]),
        (BackendWish(), ["changed"]),
    ]:
        for expected in (kinds, []):
            events.clear()
            assert apply({A_KEY: wish}, registry) == {}
            assert [event.kind for event in events] == expected


def test_a_drain_takes_as_long_as_is_wished_and_no_longer_when_told_again() -> None:
    registry, events = balancer(), list[Event]()
    request = is_busy(registry, "a")
    registry.subscribe(events.append)
    for _ in range(2):
        apply({A_KEY: BackendWish(admin_state="draining", drain=30.0)}, registry)
    backend = registry.backend("a")
    assert backend.drain is not None
    assert backend.drain.deadline == 1030.0
    assert len(events) == 1
    apply({A_KEY: BackendWish(admin_state="draining", drain=90.0)}, registry)
    assert backend.drain.deadline == 1090.0
    assert not request.cuts


@pytest.mark.parametrize(
    ("wish", "then", "cuts"),
    [
        (BackendWish(admin_state="removed"), Then.REMOVE, 0),
        (BackendWish(admin_state="removed", drain=5.0), Then.REMOVE, 0),
        (BackendWish(admin_state="removed", drain=0.0), None, 1),
        (BackendWish(admin_state="maintenance", drain=5.0), Then.MAINTENANCE, 0),
        (BackendWish(admin_state="maintenance"), None, 1),
    ],
)
def test_what_runs_ends_within_the_drain_that_is_wished(
    wish: BackendWish, then: Then | None, cuts: int
) -> None:
    registry = balancer()
    request, backend = is_busy(registry, "a"), registry.backend("a")
    for _ in range(2):
        assert apply({A_KEY: wish}, registry) == {}
    assert request.cuts == cuts
    assert (None if backend.drain is None else backend.drain.then) is then
    if then is not None:
        assert backend.drain is not None
        assert backend.drain.deadline - 1000.0 == (wish.drain or USUAL)


def test_a_drain_is_taken_back() -> None:
    registry = balancer()
    is_busy(registry, "a")
    apply({A_KEY: BackendWish(admin_state="removed")}, registry)
    apply({A_KEY: BackendWish(admin_state="draining", drain=9.0)}, registry)
    backend = registry.backend("a")
    assert backend.drain is not None
    assert backend.drain.then is Then.KEEP
    apply({A_KEY: BackendWish()}, registry)
    assert backend.state == "ready"


def test_from_maintenance_to_draining_no_request_comes_between() -> None:
    registry, kinds = balancer(), list[str]()
    registry.maintenance(registry.backend("a"))
    registry.subscribe(lambda event: kinds.append(event.kind))
    apply({A_KEY: BackendWish(admin_state="draining")}, registry)
    assert "ready" not in kinds
    assert registry.backend("a").admin_state is AdminState.DRAINING


def test_one_that_changes_its_pool_is_moved_and_its_requests_go_on() -> None:
    registry = balancer()
    request = is_busy(registry, "a")
    wishes: dict[str, Wish] = {
        A_KEY: BackendWish(admin_state="removed"),
        backend_key("web", "a"): BackendWish(spec=A),
    }
    assert apply(wishes, registry) == {}
    assert registry.backend("a").pool == "web"
    assert not request.cuts


def test_what_does_not_fit_here_is_told_and_nothing_is_done() -> None:
    registry = balancer()
    before = changes(CONFIGURED, registry)
    assert apply(
        {
            backend_key("other", "x"): BackendWish(),
            backend_key("default", "x"): BackendWish(patch={"weight": 2}),
            backend_key("web", "a"): BackendWish(spec=A),
            A_KEY: BackendWish(patch={"weight": -1}),
            pool_key("web"): PoolWish(settings={"policy": "wisest"}),
        },
        registry,
    ) == {
        "wishes/backends/other/x": "there is no pool 'other' here",
        "wishes/pools/web": "settings.policy: there is no policy 'wisest'; "
        "there are: round_robin, least_requests, two_choices, ewma, hash, random",
        "wishes/backends/default/x": "it is not configured here, and the wish does not say what it is",
        "wishes/backends/web/a": "backend 'a' is in pool 'default'",
        "wishes/backends/default/a": "weight: -1 is not between 0 and 1000000",
    }
    assert changes(CONFIGURED, registry) == before
    assert apply({backend_key("default", "x"): BackendWish()}, registry) == {}


# -- any history -----------------------------------------------------------------------------------------

Verb = Callable[[Registry], object]


def on(id: str, do: Callable[[Registry, str], object]) -> Verb:
    return lambda registry: do(registry, id) if id in registry.backends else None


def change(registry: Registry, id: str) -> None:
    backend = registry.backend(id)
    spec = backend.spec
    other = msgspec.structs.replace(spec, weight=spec.weight % 3 + 1, max_in_flight=spec.weight * 2 or None)
    registry.change(backend, other)


def unlabel(registry: Registry, id: str) -> None:
    backend = registry.backend(id)
    labels = {} if backend.spec.labels else {"zone": "y", "rack": "1"}
    registry.change(backend, msgspec.structs.replace(backend.spec, labels=labels))


def enter(pool: str, spec: BackendSpec) -> Verb:
    return lambda registry: None if spec.id in registry.backends else registry.add(spec, pool)


def move(registry: Registry, id: str) -> None:
    backend = registry.backend(id)
    registry.move(backend, backend.spec, "web" if backend.pool == "default" else "default")


def configure(weight: int) -> Verb:
    settings = [PoolSettings(), PoolSettings(policy="random"), PoolSettings(probe=Probe(path="/up"))][weight]
    return lambda registry: registry.configure(registry.pool("default"), settings)


ON_ONE: list[Callable[[Registry, str], object]] = [
    change,
    unlabel,
    move,
    lambda registry, id: registry.ready(registry.backend(id)),
    lambda registry, id: registry.maintenance(registry.backend(id)),
    lambda registry, id: registry.drain(registry.backend(id), 5.0),
    lambda registry, id: registry.drain(registry.backend(id), 5.0, Then.REMOVE),
    lambda registry, id: registry.drain(registry.backend(id), 5.0, Then.MAINTENANCE),
    lambda registry, id: registry.remove(registry.backend(id)),
]
VERBS = st.one_of(
    st.builds(on, st.sampled_from("abcd"), st.sampled_from(ON_ONE)),
    st.builds(enter, st.sampled_from(["default", "web"]), st.sampled_from([A, B, C, D])),
    st.builds(configure, st.integers(0, 2)),
)


def differences(registry: Registry) -> dict[str, PoolChanges]:
    """What differs from the configuration, in the order of the ids: who came first is no wish."""

    def ordered(change: PoolChanges) -> PoolChanges:
        added, changed = (
            tuple(sorted(each, key=lambda spec: spec.id)) for each in (change.added, change.changed)
        )
        removed = tuple(sorted(change.removed))
        return msgspec.structs.replace(change, added=added, changed=changed, removed=removed)

    return {name: ordered(change) for name, change in changes(CONFIGURED, registry).items()}


@settings(deadline=None)
@given(st.lists(st.lists(VERBS, max_size=4), max_size=5), st.sets(st.integers(0, 4)))
def test_all_balancers_become_as_the_one_that_was_asked(history: list[list[Verb]], missed: set[int]) -> None:
    """One hears each change, one misses some and lists what there is, and one comes at the end."""
    asked, hears, misses = balancer(), balancer(), balancer()
    etcd: dict[str, Wish] = {}
    for number, verbs in enumerate(history):
        before = wished(CONFIGURED, asked)
        for verb in verbs:
            verb(asked)
        put = shared(to_put(before, wished(CONFIGURED, asked), CONFIGURED, {}))
        etcd |= put
        base = Base(CONFIGURED, hears, USUAL)
        assert at_once(applying(put, etcd, base)) == {}
        assert differences(hears) == differences(asked)
        if number not in missed:
            assert apply(etcd, misses) == {}
    comes = balancer()
    for registry in (misses, comes):
        assert apply(etcd, registry) == {}
        assert differences(registry) == differences(asked)


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (BackendWish(admin_state="draining", patch={"weight": 3}), "draining"),
        (BackendWish(patch={"weight": 3}), "changed: weight"),
        (BackendWish(spec=A), "added"),
        (BackendWish(), "ready"),
        (PoolWish(settings={"queue": 3, "policy": "ewma"}), "settings: queue, policy"),
    ],
)
def test_in_words(wish: Wish, words: str) -> None:
    assert in_words(wish) == words


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"policy": "os.path:join"}, "policy: the configuration here names no such class"),
        ({"tls": {"ca": "/etc/passwd"}}, "#/tls/ca: the configuration here names no such file"),
        ({"sticky": {"cookie": "a", "secret_file": "/etc/shadow"}}, "#/sticky/secret_file: the config"),
    ],
)
def test_etcd_names_no_code_and_no_file(settings: dict[str, object], why: str) -> None:
    registry = balancer()
    key = pool_key("web")
    assert apply({key: PoolWish(settings=settings)}, registry)[key].startswith(why)
    assert registry.pool("web").settings == PoolSettings()
