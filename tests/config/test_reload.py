"""A reload merges the file before, the file now and the registry. No server is started here."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from lb.config.config_source import ConfigSource
from lb.config.cookie_keys import CookieKeys
from lb.config.diff import Change, Difference, changed
from lb.config.loader import build
from lb.config.reload_plan import applying, plan, planning
from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.drain import Then
from lb.core.registry import PoolEvent
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import AccessLogSettings, Config
from lb.settings.pool_settings import PoolSettings, Probe
from lb.slices import at_once, made, sliced
from tests.core.scene import Clock, Request, registry

NOTHING = "nothing changed"
CLUMSY = "tests.admin.kit:Clumsy"


class House:
    """A registry that was filled from a Config, as a balancer does it."""

    def __init__(self, **tables: Any) -> None:
        self.clock = Clock()
        self.config = build(tables)
        self.registry = registry(self.clock)
        for name, pool in self.config.pools.items():
            self.registry.add_pool(name, pool.settings)
            for spec in pool.backends:
                self.registry.add(spec, name, "config")

    def __getitem__(self, name: str) -> Backend:
        return self.registry.backend(name)

    def reloads(self, **tables: Any) -> Difference:
        planned = plan(self.config, build(tables), self.registry)
        at_once(made(applying(planned, self.registry, lambda: None)))
        self.config = planned.config
        return planned.difference

    def specs(self, pool: str = "default") -> dict[str, BackendSpec]:
        return {backend.id: backend.spec for backend in self.registry.pools[pool].backends}

    def settings(self, pool: str = "default") -> PoolSettings:
        return self.registry.pools[pool].settings

    def occupies(self, name: str) -> Request:
        """A request in flight on that backend."""
        backend = self[name]
        pool, request = self.registry.pools[backend.pool], Request()
        taken, _ = pool.take(request, [each for each in pool.backends if each is not backend])
        assert taken is backend
        return request

    def ends(self, request: Request, backend: Backend, pool: str = "default") -> None:
        self.registry.pools[pool].release(backend, request)


def table(name: str, **more: Any) -> dict[str, Any]:
    return {"id": name, "url": f"http://{name}.test", **more}


def pool(*backends: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"backends": list(backends), **settings}


def default(*backends: dict[str, Any], **settings: Any) -> dict[str, Any]:
    return {"default": pool(*backends, **settings)}


def spec(name: str, **more: Any) -> BackendSpec:
    return BackendSpec(id=name, url=f"http://{name}.test", **more)


def kept(difference: Difference) -> dict[str, str]:
    return {each.key: each.why for each in difference.kept}


def ids(changes: tuple[Any, ...]) -> list[str]:
    return [each.id for each in changes]


# -- changes in the file ---------------------------------------------------------------------------------


def test_the_same_config_again_changes_nothing() -> None:
    tables = {"pools": default(table("a"), table("b"), queue=3), "routes": [{"pool": "default"}]}
    house = House(**tables)
    revision = house.registry.revision
    difference = house.reloads(**tables)
    assert (difference.changed, difference.summary) == (False, NOTHING)
    assert house.registry.revision == revision


def test_settings_are_compared_by_their_keys() -> None:
    house = House(timeouts={"connect": 1})
    difference = house.reloads(
        timeouts={"connect": "2s"}, limits={"fields": 7}, trusted_proxies=["10.0.0.0/8"], forwarded=True
    )
    assert {each.key: (each.before, each.after) for each in difference.settings} == {
        "timeouts.connect": (1.0, 2.0),
        "limits.fields": (100, 7),
        "trusted_proxies": ((), ("10.0.0.0/8",)),
        "forwarded": (False, True),
    }
    assert (difference.changed, difference.summary) == (True, "settings changed: 4")
    assert house.config.timeouts.connect == 2.0


def test_backends_are_added_changed_and_drained() -> None:
    house = House(pools=default(table("a"), table("b"), table("c")))
    a, c = house["a"], house["c"]
    request = house.occupies("c")
    difference = house.reloads(
        pools=default(table("a", weight=3, labels={"rack": "x"}), table("b"), table("d")),
        timeouts={"drain": 7},
    )
    assert ids(difference.backends.added) == ["d"]
    assert ids(difference.backends.removed) == ["c"]
    [change] = difference.backends.changed
    assert [(each.key, each.before, each.after) for each in change.changes] == [
        ("weight", 1, 3),
        ("labels.rack", None, "x"),
    ]
    assert house["a"] is a
    assert a.spec.weight == 3
    assert house["d"].source == "config"
    assert c.drain is not None
    assert (c.admin_state, c.drain.then, c.drain.deadline) == (AdminState.DRAINING, Then.REMOVE, 1007.0)
    assert request.cuts == 0
    house.ends(request, c)
    assert list(house.specs()) == ["a", "b", "d"]


def test_a_backend_added_by_a_reload_starts_slowly() -> None:
    house = House(pools=default(table("a"), slow_start="10s"))
    house.reloads(pools=default(table("a"), table("b"), slow_start="10s"))
    assert (house["a"].state, house["b"].state) == ("ready", "warming")


def test_a_backend_that_was_leaving_may_stay() -> None:
    house = House(pools=default(table("a"), table("b")))
    a, request = house["a"], house.occupies("a")
    house.reloads(pools=default(table("b")))
    assert a.state == "draining"
    difference = house.reloads(pools=default(table("a", weight=2), table("b")))
    assert ids(difference.backends.added) == ["a"]
    assert (house["a"], a.state, a.spec.weight) == (a, "ready", 2)
    house.ends(request, a)
    assert not a.removed


def test_a_queued_request_gets_the_new_backend_before_the_old_one_leaves() -> None:
    house = House(pools=default(table("a", max_in_flight=1)))
    request = house.occupies("a")
    woken: list[bool] = []
    ticket = house.registry.pools["default"].queue(Request(), (), lambda: woken.append(True))
    house.reloads(pools=default(table("b")))
    assert woken == [True]
    assert ticket.backend is house["b"]
    assert request.cuts == 0


def test_a_pool_is_removed_with_its_last_backend() -> None:
    events: list[str] = []
    house = House(pools={**default(table("a")), "old": pool(table("o"), table("p"))})
    house.registry.subscribe(lambda _: None, lambda event: events.append(f"{event.kind} {event.pool.name}"))
    o, request = house["o"], house.occupies("o")
    old = house.registry.pools["old"]
    difference = house.reloads(pools={**default(table("a")), "new": pool(table("n"), queue=3)})
    assert (difference.pools.added, difference.pools.emptied) == (("new",), ("old",))
    assert ids(difference.backends.added) == ["n"]
    assert ids(difference.backends.removed) == ["o", "p"]
    assert house.settings("new").queue == 3
    assert [*old.backends] == [o]
    house.registry.forget_pools(house.config.pools)
    assert "old" in house.registry.pools
    house.ends(request, o, "old")
    house.registry.forget_pools(house.config.pools)
    assert list(house.registry.pools) == ["default", "new"]
    assert events == ["added new", "removed old"]


def test_an_idle_pool_is_removed_at_once() -> None:
    house = House(pools={**default(table("a")), "old": pool(table("o"))})
    revision = house.registry.revision
    house.reloads(pools=default(table("a")))
    assert list(house.registry.pools) == ["default"]
    assert house.registry.revision > revision


def test_a_backend_moves_between_pools_and_its_requests_finish() -> None:
    house = House(pools={**default(table("a")), "other": pool(table("b"))})
    old, request = house["a"], house.occupies("a")
    difference = house.reloads(pools={**default(), "other": pool(table("b"), table("a", weight=2))})
    [change] = difference.backends.changed
    assert (change.id, change.pool) == ("a", "default")
    assert [each.key for each in change.changes] == ["pool", "weight"]
    assert list(house.specs("other")) == ["b", "a"]
    assert house.specs() == {}
    assert (house["a"].in_flight, request.cuts) == (0, 0)
    house.ends(request, old)
    assert (old.removed, house.registry.pools["default"].in_flight) == (True, 0)
    assert not house["a"].removed


@pytest.mark.parametrize("wish", ["maintenance", "drain"])
def test_the_operators_wish_moves_with_the_backend(wish: str) -> None:
    house = House(pools={**default(table("a")), "other": pool()})
    if wish == "drain":
        house.registry.drain(house["a"], 60)
    else:
        house.registry.maintenance(house["a"])
    state = house["a"].state
    house.reloads(pools={**default(), "other": pool(table("a"))})
    assert (house["a"].pool, house["a"].state) == ("other", state)


def test_what_follows_a_drain_moves_with_the_backend() -> None:
    house = House(pools={**default(table("a")), "other": pool()})
    house.occupies("a")
    house.registry.drain(house["a"], 60, Then.MAINTENANCE)
    house.reloads(pools={**default(), "other": pool(table("a"))})
    assert house["a"].state == "maintenance"  # its running requests finish and are not counted any more


def test_a_backend_in_maintenance_may_be_changed_and_removed() -> None:
    house = House(pools=default(table("a")))
    house.registry.maintenance(house["a"])
    house.reloads(pools=default(table("a", weight=5)))
    assert (house["a"].state, house["a"].spec.weight) == ("maintenance", 5)
    house.reloads(pools=default())
    assert house.specs() == {}


def test_a_pools_settings_follow_the_file() -> None:
    house = House(pools=default(table("a"), queue=3))
    policy = house.registry.pools["default"].policy
    difference = house.reloads(pools=default(table("a"), queue=4, retry={"attempts": 5}))
    assert difference.pools.changed == ("default",)
    assert [each.key for each in difference.settings] == [
        "pools.default.queue",
        "pools.default.retry.attempts",
    ]
    assert house.settings() == PoolSettings(queue=4, retry=house.settings().retry)
    assert house.registry.pools["default"].policy is policy
    house.reloads(pools=default(table("a"), policy="ewma"))
    assert type(house.registry.pools["default"].policy).__name__ == "Ewma"


# -- changes at runtime ----------------------------------------------------------------------------------


def test_backends_that_were_changed_at_runtime_stay_as_they_are() -> None:
    house = House(pools=default(*map(table, ("same", "both", "gone", "left", "lost"))))
    add, change = house.registry.add, house.registry.change
    add(spec("extra"))
    add(spec("named"))
    for name in ("same", "both", "gone"):
        change(house[name], spec(name, weight=7))
    for name in ("left", "lost"):
        house.registry.drain(house[name], 60, Then.REMOVE)
    before = house.specs()
    difference = house.reloads(
        pools=default(table("same"), table("both", weight=3), table("left"), table("named", weight=2))
    )
    assert house.specs() == before
    assert kept(difference) == {
        "pools.default.backends.same": "changed at runtime",
        "pools.default.backends.both": "changed at runtime, and something else in the file",
        "pools.default.backends.left": "removed at runtime",
        "pools.default.backends.named": "added at runtime, and something else in the file",
        "pools.default.backends.gone": "changed at runtime, and not in the file",
        "pools.default.backends.extra": "added at runtime, and not in the file",
    }
    assert (difference.changed, difference.summary) == (
        False,
        "nothing changed, kept as changed at runtime: 6",
    )
    again = house.reloads(pools=default(table("same", weight=7), table("both", weight=7)))
    assert set(kept(again)) == {f"pools.default.backends.{name}" for name in ("named", "gone", "extra")}


def test_a_pool_gone_from_the_file_stays_for_backends_added_at_runtime() -> None:
    house = House(pools={**default(table("a")), "old": pool(table("o"))})
    house.registry.add(spec("extra"), "old")
    house.reloads(pools=default(table("a")))
    assert list(house.specs("old")) == ["extra"]
    difference = house.reloads(pools=default(table("a")))
    assert not difference.changed
    assert kept(difference) == {"pools.old.backends.extra": "added at runtime, and not in the file"}
    house.reloads(pools={**default(table("a")), "old": pool(table("extra"), queue=9)})
    assert house.settings("old").queue == 9
    assert list(house.specs("old")) == ["extra"]


def test_a_pools_settings_are_merged_key_by_key() -> None:
    house = House(pools=default(queue=3, panic=0.1))
    now = PoolSettings(queue=8, policy="ewma", panic=0.5, slow_start=5.0)
    house.registry.configure(house.registry.pools["default"], now)
    difference = house.reloads(pools=default(queue=4, panic=0.5, max_in_flight=9))
    assert house.settings() == PoolSettings(
        queue=8, policy="ewma", panic=0.5, slow_start=5.0, max_in_flight=9
    )
    assert kept(difference) == {
        "pools.default.policy": "changed at runtime",
        "pools.default.queue": "changed at runtime and in the file",
        "pools.default.slow_start": "changed at runtime",
    }
    assert [each.key for each in difference.settings] == ["pools.default.max_in_flight"]


# -- keys that need a restart, and mistakes --------------------------------------------------------------


def test_keys_that_need_a_restart_keep_their_value() -> None:
    house = House(listen=[":1"], admin={"listen": ":2", "allowed_hosts": ["a"]}, access_log="json")
    difference = house.reloads(
        listen=[":3"], state="s.json", access_log="text", admin={"allowed_hosts": ["b"], "metrics_open": True}
    )
    assert [each.key for each in difference.needs_restart] == [
        "listen",
        "admin.listen",
        "admin.metrics_open",
        "state",
    ]
    assert [each.key for each in difference.settings] == ["admin.allowed_hosts", "access_log.format"]
    assert house.config == Config(
        listen=(":1",),
        access_log=AccessLogSettings(format="text"),
        admin=build({"admin": {"listen": ":2", "allowed_hosts": ["b"]}}).admin,
    )


def test_the_demos_backends_do_not_change_by_a_reload() -> None:
    house = House(demo=True)
    difference = house.reloads(pools=default(table("a"), queue=3))
    assert [each.key for each in difference.needs_restart] == ["demo", "pools.default.backends"]
    assert list(house.specs()) == ["server1", "server2", "server3"]
    assert house.settings().queue == 3
    house = House(pools=default(table("a")))
    house.reloads(demo=True)
    assert list(house.specs()) == ["a"]


def test_a_plan_fails_before_anything_is_changed(tmp_path: Path) -> None:
    house = House(pools=default(table("a"), queue=3))
    house.registry._secret = CookieKeys().read
    wanted = build(
        {
            "pools": {
                "default": pool(table("b"), policy="lb.config.config_source:Nothing", queue=5),
                "new": pool(sticky={"secret_file": str(tmp_path / "none")}),
            }
        }
    )
    with pytest.raises(ConfigError) as caught:
        plan(house.config, wanted, house.registry)
    assert [each.partition(": ")[0] for each in caught.value.mistakes] == [
        "pools.default.policy",
        "pools.new.sticky.secret_file",
    ]
    assert (list(house.specs()), list(house.registry.pools), house.settings().queue) == (
        ["a"],
        ["default"],
        3,
    )


def test_a_custom_policy_is_made_once_while_planning() -> None:
    house = House(pools=default(table("a")))
    events: list[PoolEvent] = []
    house.registry.subscribe(lambda _: None, events.append)
    house.reloads(pools={**default(table("a"), policy=CLUMSY), "new": pool(table("b"), policy=CLUMSY)})
    for name in ("default", "new"):
        taken, _ = house.registry.pools[name].take(Request())
        assert taken is not None  # although the policy fails
    assert [event.kind for event in events] == ["configured", "added", "policy failed", "policy failed"]


async def test_a_plan_to_look_at_loads_no_code_and_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(pools=default(table("a")))
    monkeypatch.setattr("lb.core.policies.custom.import_module", pytest.fail)
    house.registry._secret = lambda file: pytest.fail(f"{file} is read")
    wanted = build({"pools": {"new": pool(policy=CLUMSY, sticky={"secret_file": "/etc/shadow"})}})
    planned = await sliced(planning(house.config, wanted, house.registry, may_load=False))
    assert planned.difference.unchecked == ("pools.new.policy", "pools.new.sticky.secret_file")
    assert list(house.registry.pools) == ["default"]


def test_settings_that_are_equal_are_not_taken_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    taken_apart: list[object] = []

    def to_builtins(value: object) -> object:
        taken_apart.append(value)
        return msgspec.to_builtins(value)

    monkeypatch.setattr("lb.config.diff.msgspec", SimpleNamespace(to_builtins=to_builtins))
    before, after = (build({"via": via, "routes": [{"pool": "default"}]}) for via in ("one", "two"))
    assert changed(before, after) == (Change(key="via", before="one", after="two"),)
    assert taken_apart == ["one", "two"]


# -- the source ------------------------------------------------------------------------------------------


def test_a_source_reads_the_file_again_under_the_same_flags(tmp_path: Path) -> None:
    file = tmp_path / "lb.toml"
    file.write_text('via = "one"\n[timeouts]\nconnect = 1\nsend = 1')
    source = ConfigSource(file, {"timeouts": {"send": 9}})
    assert (source.read().via, source.read().timeouts.send) == ("one", 9.0)
    file.write_text('via = "two"\n[timeouts]\nsend = 2\n[pools.a.probe]\npath = "/x"')
    config, origins = source.read_with_origins()
    assert (config.via, config.timeouts.send, config.timeouts.connect) == ("two", 9.0, 5.0)
    assert origins == {
        ("via",): "file",
        ("timeouts", "send"): "flag",
        ("pools", "a", "probe", "path"): "file",
    }
    assert str(source) == f"{file} with flags"
    file.write_text("via = ")
    with pytest.raises(ConfigError, match="line 1"):
        source.read()


def test_without_a_file_there_are_the_flags_or_the_demo() -> None:
    assert ConfigSource(None, {}).read() == build({"demo": True})
    source = ConfigSource(None, {"pools": default(table("a"))})
    assert (source.read(), str(source)) == (build(source.flags), "flags")


def test_a_new_probe_is_in_the_difference_by_its_keys() -> None:
    house = House(pools=default(table("a")))
    difference = house.reloads(pools=default(table("a"), probe={"path": "/x"}))
    assert house.settings().probe == Probe(path="/x")
    assert "pools.default.probe.path" in [each.key for each in difference.settings]


def test_a_policy_may_still_fail_after_its_pool_was_removed() -> None:
    house = House(pools={**default(table("a")), "old": pool(table("o"), policy=CLUMSY)})
    old, o = house.registry.pools["old"], house["o"]
    house.reloads(pools=default(table("a")))
    assert "old" not in house.registry.pools
    assert old.policy.choose([o], Request()) is o


# -- sources of backends -----------------------------------------------------------------------------------

SOURCE = {"files": "/etc/lb/web.json", "grace": "5s"}
A = {"id": "a", "url": "http://a"}


def _found(house: House, name: str) -> Backend:
    said = BackendSpec(id=name, url=f"http://{name}:80")
    return house.registry.found.enter(said, house.registry.pools["default"], "files", Notice.HERE)


def test_sources_are_a_setting_of_their_pool() -> None:
    house = House()
    difference = house.reloads(pools={"default": {"discover": [SOURCE]}})
    told = {"files": "/etc/lb/web.json", "name": "files", "grace": 5.0}
    assert difference.settings == (Change(key="pools.default.discover", before=[], after=[told]),)
    assert house.config.pools["default"].discover[0].grace == 5.0
    assert not house.reloads(pools={"default": {"discover": [SOURCE]}}).changed


def test_what_was_found_is_none_of_the_files_business() -> None:
    tables = {"default": {"discover": [SOURCE], "backends": [A]}}
    house = House(pools=tables)
    _found(house, "f")
    difference = house.reloads(pools=tables)
    assert (difference.summary, difference.kept) == (NOTHING, ())
    assert "f" in house.registry.backends


def test_a_backend_that_the_file_names_from_now_on_is_the_files() -> None:
    house = House(pools={"default": {"discover": [SOURCE]}})
    f = _found(house, "f")
    house.registry.maintenance(f)
    named = {"id": "f", "url": "http://f:80", "weight": 4}
    difference = house.reloads(pools={"default": {"discover": [SOURCE], "backends": [named]}})
    assert [each.id for each in difference.backends.added] == ["f"]
    assert (f.source, f.said, f.spec.weight, f.notice) == ("config", None, 4, Notice.HERE)
    assert f.admin_state is AdminState.MAINTENANCE


def test_a_backend_in_another_pool_moves_there() -> None:
    house = House(pools={"default": {"discover": [SOURCE]}, "web": {}})
    _found(house, "f")
    house.reloads(
        pools={"default": {"discover": [SOURCE]}, "web": {"backends": [{"id": "f", "url": "http://f:80"}]}}
    )
    assert house["f"].pool == "web"
    assert house["f"].said is None
    assert house.registry.found.hidden == {}
