"""The state file: which changes survive a restart, and which files are never overwritten."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.config.state_file import Changes, PoolChanges, apply, changes, load, save
from lb.core.announced import Notice
from lb.core.backend import AdminState, Backend
from lb.core.drain import Then
from lb.core.found_control import Word
from lb.core.registry import Registry
from lb.errors import ConfigError
from lb.settings.backend_spec import BackendSpec
from lb.settings.balancer_settings import PoolConfig
from lb.settings.pool_settings import PoolSettings, Probe
from tests.core.scene import registry as make_registry

A, B, C, D = (BackendSpec(id=name, url=f"http://{name}.test:80") for name in "abcd")
E, F, G = (BackendSpec(id=name, url=f"http://{name}.test:80") for name in "efg")
HEAVY_A = msgspec.structs.replace(A, weight=5)
CONFIGURED = {"default": PoolConfig(backends=(A, B)), "web": PoolConfig(backends=(C,))}


class Request:
    """A request in flight that does not end."""

    def cut(self) -> None: ...


Configured = dict[str, PoolConfig]


def registry_of(configured: Configured) -> Registry:
    registry = make_registry(lambda: 0.0)
    for name, pool in configured.items():
        registry.add_pool(name, pool.settings)
        for spec in pool.backends:
            registry.add(spec, name, "config")
    return registry


def restarted(registry: Registry, configured: Configured | None = None) -> Registry:
    """A registry after a restart with the saved changes, perhaps with another Config."""
    data = msgspec.json.encode(changes(CONFIGURED, registry))
    again = registry_of(configured or CONFIGURED)
    apply(msgspec.json.decode(data, type=Changes), again)
    return again


def told(registry: Registry) -> dict[str, list[tuple[BackendSpec, str]]]:
    return {
        name: [(backend.spec, backend.state) for backend in pool.backends]
        for name, pool in registry.pools.items()
    }


def test_without_runtime_changes_nothing_is_saved() -> None:
    assert changes(CONFIGURED, registry_of(CONFIGURED)) == {}


def test_each_kind_of_change_is_saved_with_its_pool() -> None:
    registry = registry_of(CONFIGURED)
    registry.change(registry.backend("a"), HEAVY_A)
    registry.remove(registry.backend("b"))
    registry.add(D, "web")
    registry.drain(registry.backend("d"), None)
    registry.maintenance(registry.backend("c"))
    assert changes(CONFIGURED, registry) == {
        "default": PoolChanges(changed=(HEAVY_A,), removed=("b",)),
        "web": PoolChanges(added=(D,), admin_state={"c": "maintenance", "d": "draining"}),
    }
    assert told(restarted(registry)) == {
        "default": [(HEAVY_A, "ready")],
        "web": [(C, "maintenance"), (D, "drained")],
    }


def test_a_drain_that_removes_counts_as_removed() -> None:
    registry = registry_of(CONFIGURED)
    registry.backend("a").running.add(Request())
    registry.drain(registry.backend("a"), None, Then.REMOVE)
    assert "a" in registry.backends
    assert changes(CONFIGURED, registry) == {"default": PoolChanges(removed=("a",))}


def test_a_drain_into_maintenance_counts_as_maintenance() -> None:
    registry = registry_of(CONFIGURED)
    registry.backend("a").running.add(Request())
    registry.drain(registry.backend("a"), None, Then.MAINTENANCE)
    assert told(restarted(registry))["default"][0] == (A, "maintenance")


@pytest.mark.parametrize(
    ("take_back", "wish"), [(Registry.ready, "ready"), (Registry.maintenance, "maintenance")]
)
def test_a_drain_that_was_taken_back_removes_nothing(
    take_back: Callable[[Registry, object], object], wish: str
) -> None:
    registry = registry_of(CONFIGURED)
    registry.backend("a").running.add(Request())
    registry.drain(registry.backend("a"), None, Then.REMOVE)
    take_back(registry, registry.backend("a"))
    assert told(restarted(registry))["default"][0] == (A, wish)


def test_a_drained_backend_comes_back_drained_with_nothing_in_flight() -> None:
    registry = registry_of(CONFIGURED)
    registry.backend("a").running.add(Request())
    registry.drain(registry.backend("a"), None)
    again = restarted(registry).backend("a")
    assert again.admin_state is AdminState.DRAINING
    assert again.drain is not None
    assert again.drain.outcome == "completed"


def test_a_backend_may_move_to_another_pool() -> None:
    registry = registry_of(CONFIGURED)
    registry.remove(registry.backend("a"))
    registry.add(HEAVY_A, "web")
    assert told(restarted(registry)) == {
        "default": [(B, "ready")],
        "web": [(C, "ready"), (HEAVY_A, "ready")],
    }


class TestEditedConfiguration:
    """Apply changes that were saved under CONFIGURED to a Config that was edited since."""

    def test_a_backend_added_to_the_file_is_there_after_a_restart(self) -> None:
        registry = registry_of(CONFIGURED)
        registry.remove(registry.backend("b"))
        assert told(
            restarted(
                registry,
                {
                    "default": PoolConfig(
                        backends=(
                            A,
                            B,
                            D,
                        )
                    ),
                    "web": PoolConfig(backends=(C,)),
                },
            )
        ) == {
            "default": [(A, "ready"), (D, "ready")],
            "web": [(C, "ready")],
        }

    def test_a_backend_taken_out_of_the_file_stays_out(self) -> None:
        saved: Changes = {
            "default": PoolChanges(changed=(HEAVY_A,), removed=("b",), admin_state={"a": "draining"})
        }
        registry = registry_of({"default": PoolConfig(), "web": PoolConfig(backends=(C,))})
        assert apply(saved, registry) == ["backend 'a' is not in pool 'default' any more"]
        assert told(registry) == {"default": [], "web": [(C, "ready")]}

    def test_a_wish_for_a_backend_that_moved_in_the_file_is_skipped(self) -> None:
        saved: Changes = {"default": PoolChanges(added=(C,), admin_state={C.id: "maintenance"})}
        registry = registry_of({"default": PoolConfig(), "web": PoolConfig(backends=(C,))})
        assert len(apply(saved, registry)) == 1
        assert told(registry) == {"default": [], "web": [(C, "ready")]}

    def test_a_runtime_change_wins_over_the_file(self) -> None:
        registry = registry_of({"default": PoolConfig(backends=(A,))})
        assert apply({"default": PoolChanges(added=(HEAVY_A,))}, registry) == []
        assert told(registry) == {"default": [(HEAVY_A, "ready")]}

    def test_an_id_that_the_file_gave_to_another_pool_is_skipped(self) -> None:
        registry = registry_of({"default": PoolConfig(), "web": PoolConfig(backends=(A,))})
        saved: Changes = {"default": PoolChanges(added=(HEAVY_A,), removed=("a",))}
        [sentence] = apply(saved, registry)
        assert "'a' is in pool 'web'" in sentence
        assert told(registry) == {"default": [], "web": [(A, "ready")]}

    def test_changes_of_a_pool_that_is_gone_are_reported(self) -> None:
        registry = registry_of({"default": PoolConfig(backends=(A,))})
        assert apply({"web": PoolChanges(removed=("a",))}, registry) == ["there is no pool 'web' any more"]
        assert told(registry) == {"default": [(A, "ready")]}


SAVED: Changes = {
    "default": PoolChanges(
        added=(msgspec.structs.replace(D, labels={"rack": "ü"}, max_in_flight=3),),
        changed=(HEAVY_A,),
        removed=("b",),
        admin_state={"d": "draining"},
    )
}


def test_saved_changes_are_loaded_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    assert load(path) is None
    save(path, {})
    assert load(path) == {}
    save(path, SAVED)
    assert load(path) == SAVED
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_only_the_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.touch(0o666)
    save(path, {})
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_symbolic_link_to_the_file_stays(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    link = tmp_path / "state.json"
    link.symlink_to(tmp_path / "real" / "state.json")
    save(link, SAVED)
    assert link.is_symlink()
    assert load(tmp_path / "real" / "state.json") == SAVED


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    path = tmp_path / "state.json"
    save(path, SAVED)

    def no_space(*_args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, no_space)
    with pytest.raises(OSError, match="No space left"):
        save(path, {})
    assert load(path) == SAVED
    assert [entry.name for entry in tmp_path.iterdir()] == ["state.json"]


def test_file_and_folder_are_synchronised_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(fd: int) -> None:
        steps.append("fsync " + ("folder" if os.path.isdir(f"/proc/self/fd/{fd}") else "file"))
        fsync(fd)

    def noted_replace(source: str, target: str) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    save(tmp_path / "state.json", SAVED)
    assert steps == ["fsync file", "replace", "fsync folder"]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"format": "trio-lb state", "ver', "is torn or not a state file"),
        (b"\xff\xfe", "is torn or not a state file"),
        (b"[" * 100_000, "is torn or not a state file"),
        (b"[]", "is not a state file of trio-lb"),
        (b'{"format": "other", "version": 1}', "is not a state file of trio-lb"),
        (
            b'{"format": "trio-lb state", "version": 2, "pods": 0}',
            "a newer trio-lb (version 2; this one reads 1)",
        ),
        (b'{"format": "trio-lb state", "version": 0, "pools": {}}', "is invalid"),
        (b'{"format": "trio-lb state", "version": 1}', "is invalid"),
        (b'{"format": "trio-lb state", "version": 1, "pools": {}, "x": 1}', "is invalid"),
        (
            b'{"format": "trio-lb state", "version": 1, "pools": {"p": {"added": [{"url": "x:"}]}}}',
            "is invalid",
        ),
    ],
)
def test_an_invalid_file_is_an_error_and_is_not_changed(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(data)
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"state: {path} ")
    assert message in str(caught.value)
    assert str(caught.value).endswith("; it was left as it is")
    assert path.read_bytes() == data


def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    save(path, SAVED)
    whole = path.read_bytes()
    for length in range(1, len(whole.rstrip())):
        path.write_bytes(whole[:length])
        with pytest.raises(ConfigError):
            load(path)


def test_a_missing_folder_is_an_error_at_the_start() -> None:
    with pytest.raises(ConfigError, match="there is no such folder"):
        load("/nowhere/state.json")


def test_a_path_that_is_no_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a regular file"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/null")):
        with pytest.raises(ConfigError, match="is not a regular file"):
            load(path)


@pytest.mark.parametrize("data", [b"", b" \n", b"\xef\xbb\xbf"])
def test_an_empty_file_is_no_state_yet(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(data)
    assert load(path) is None


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    ),
    st.sampled_from(["format", "version", "pools"]),
)
def test_any_value_in_any_place_is_valid_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, value: object, key: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "state.json"
    table = {"format": "trio-lb state", "version": 1, "pools": {}} | {key: value}
    path.write_bytes(msgspec.json.encode(table))
    try:
        found = load(path)
    except ConfigError:
        return
    assert found is not None
    save(path, found)
    assert load(path) == found


def test_an_edited_file_applies_beside_a_setting_changed_at_runtime() -> None:
    configured = {"default": PoolConfig(queue=1, probe=Probe(path="/a"))}
    registry = registry_of(configured)
    pool = registry.pools["default"]
    changed = Probe(path="/a", fall=9)
    registry.configure(pool, msgspec.structs.replace(pool.settings, policy="ewma", probe=changed))
    kept = changes(configured, registry)
    assert kept["default"].settings == {"policy": "ewma", "probe": {"fall": 9}}
    again = registry_of({"default": PoolConfig(queue=7, probe=Probe(path="/b"))})
    assert apply(kept, again) == []
    settings = again.pools["default"].settings
    assert (settings.policy, settings.queue, settings.probe) == ("ewma", 7, Probe(path="/b", fall=9))


def test_a_feature_switched_off_at_runtime_stays_off() -> None:
    configured = {"default": PoolConfig(probe=Probe())}
    registry = registry_of(configured)
    registry.configure(registry.pools["default"], PoolSettings())
    kept = changes(configured, registry)
    assert kept["default"].settings == {"probe": None}
    again = registry_of(configured)
    apply(kept, again)
    assert again.pools["default"].settings.probe is None


def test_settings_that_cannot_be_applied_are_reported() -> None:
    again = registry_of(CONFIGURED)
    assert "no use any more" in apply({"default": PoolChanges(settings={"policy": "gone:Gone"})}, again)[0]


# -- backends that were found ------------------------------------------------------------------------------


def found(registry: Registry, said: BackendSpec) -> Backend:
    return registry.found.enter(said, registry.pools["default"], "dns", Notice.HERE)


def test_what_was_found_is_not_saved_and_what_an_operator_said_of_it_is() -> None:
    registry = registry_of(CONFIGURED)
    for said in (D, E, F, G):
        found(registry, said)
    registry.change(registry.backend("d"), msgspec.structs.replace(D, weight=5))
    registry.maintenance(registry.backend("e"))
    registry.remove(registry.backend("f"))
    saved = changes(CONFIGURED, registry)["default"]
    assert (saved.added, saved.changed, saved.removed, saved.admin_state) == ((), (), (), {})
    assert saved.found == {"d": Word(changed={"weight": 5}), "e": Word(wish="maintenance")}
    assert saved.hidden == ("f",)
    again = restarted(registry)
    assert [*again.pools["default"].backends] == [again.backend("a"), again.backend("b")]
    assert found(again, D).spec.weight == 5
    assert found(again, E).admin_state is AdminState.MAINTENANCE
    assert again.found.hidden == {"default": {"f": None}}
    assert changes(CONFIGURED, again)["default"] == saved


def test_the_word_of_one_that_has_left_is_saved() -> None:
    registry = registry_of(CONFIGURED)
    registry.drain(found(registry, D), 60)
    registry.found.leave(registry.backend("d"), 60)
    assert "d" not in registry.backends
    assert changes(CONFIGURED, registry)["default"].found == {"d": Word(wish="draining")}
    assert found(restarted(registry), D).admin_state is AdminState.DRAINING


def test_without_found_backends_the_file_is_as_before() -> None:
    registry = registry_of(CONFIGURED)
    registry.maintenance(registry.backend("a"))
    assert b"found" not in msgspec.json.encode(changes(CONFIGURED, registry))
    assert b"hidden" not in msgspec.json.encode(changes(CONFIGURED, registry))
