"""/upgrade: what is answered, refused and told, with an upgrade that a test has made up."""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from admin.event_publisher import EventPublisher
from admin.resources.events import TYPES
from lb.config.config_source import ConfigSource
from lb.config.reload import Reloader
from lb.control import Control, Rehearsal, Replacement, UpgradeKind
from lb.core.backend import AdminState
from lb.core.registry import Event
from lb.errors import NotUpgraded
from tests.admin.kit import Add, Api, is_problem


class Upgrade:
    """One that does, or refuses, what it is made for."""

    def __init__(self, refuses: str = "") -> None:
        self.refuses = refuses
        self.count = 0
        self.subscribers: list[Callable[[UpgradeKind, str], None]] = []

    async def __call__(self) -> Replacement:
        self.count += 1
        if self.refuses:
            raise NotUpgraded(self.refuses)
        return Replacement(pid=4711, version="9.9", seconds=1.25)

    async def rehearse(self) -> Rehearsal:
        if self.refuses:
            raise NotUpgraded(self.refuses)
        return Rehearsal(command=("/opt/lb", "run"), version="9.9 (pure)", notes=("a note",))

    def subscribe(self, tell: Callable[[UpgradeKind, str], None]) -> None:
        self.subscribers.append(tell)


async def test_the_answer_names_both_programs(api: Api, control: Control) -> None:
    control.upgrade = Upgrade()
    answer = await api("POST", "/upgrade")
    assert answer.status == 200
    assert answer.json["applied"]
    assert answer.json["after"] == {"pid": 4711, "version": "9.9"}
    assert answer.json["seconds"] == 1.25
    assert control.audit.newest()[0].operation == "POST /upgrade"


@pytest.mark.parametrize("path", ["/upgrade", "/upgrade?dry_run=true"])
async def test_what_keeps_it_from_being_replaced_is_a_conflict_in_words(
    api: Api, control: Control, path: str
) -> None:
    control.upgrade = Upgrade("lb.toml: 2 mistakes\n  listem: unknown key\n  moon: unknown key")
    answer = await api("POST", path)
    assert is_problem(answer)
    why = "lb.toml: 2 mistakes: listem: unknown key; moon: unknown key"
    assert (answer.status, answer.json["detail"]) == (409, why)
    assert control.audit.newest()[0].why == why


async def test_a_balancer_within_another_program_has_no_upgrade(api: Api) -> None:
    answer = await api("POST", "/upgrade")
    assert answer.status == 409
    assert "part of another program" in answer.json["detail"]


async def test_a_dry_run_starts_nothing_and_says_what_would_change(
    api: Api, control: Control, tmp_path: Path
) -> None:
    control.upgrade = upgrade = Upgrade()
    (file := tmp_path / "lb.toml").write_text('via = "next"\n')
    control.reload = Reloader(ConfigSource(file, {}), control, lambda _config, _routes: None)
    answer = await api("POST", "/upgrade", form="dry_run=true")
    assert answer.headers["lb-dry-run"] == "true"
    assert upgrade.count == 0
    assert not answer.json["applied"]
    assert answer.json["command"] == ["/opt/lb", "run"]
    assert answer.json["after"] == {"pid": None, "version": "9.9 (pure)"}
    assert {"key": "via", "before": "lb", "after": "next"} in answer.json["configuration"]["settings"]
    assert answer.json["notes"] == ["a note"]
    assert control.audit.newest() == []


async def test_a_file_that_only_the_new_program_understands_is_noted(
    api: Api, control: Control, tmp_path: Path
) -> None:
    control.upgrade = Upgrade()
    (file := tmp_path / "lb.toml").write_text("")
    control.reload = Reloader(ConfigSource(file, {}), control, lambda _config, _routes: None)
    file.write_text('moon = "full"\n')
    answer = await api("POST", "/upgrade?dry_run=true")
    assert answer.json["configuration"] is None
    assert "moon" in answer.json["notes"][-1]


async def test_while_another_program_takes_over_nothing_is_changed_here(api: Api, control: Control) -> None:
    control.is_handing_over = True
    url = "http://10.0.0.1:80"
    answer = await api("POST", "/backends", json={"url": url})
    assert answer.status == 409
    assert "another program takes over" in answer.json["detail"]
    assert (await api("GET", "/backends")).status == 200


async def test_a_change_that_comes_too_late_is_not_said_to_be_made(
    api: Api, control: Control, add: Add
) -> None:
    """It was let in before, and made after the other program had been told what operators want."""
    backend = add("web1")

    def told(event: Event) -> None:
        control.is_handing_over = True

    control.registry.subscribe(told)
    answer = await api("POST", "/backends/web1/maintenance")
    assert (answer.status, backend.admin_state) == (409, AdminState.MAINTENANCE)


async def test_then_each_answer_is_the_last_on_its_connection(api: Api, control: Control) -> None:
    assert "connection" not in (await api("GET", "/info")).headers
    control.handed_over.set()
    assert (await api("GET", "/info")).headers["connection"] == "close"


async def test_an_upgrade_is_told_of(control: Control) -> None:
    control.upgrade = upgrade = Upgrade()
    EventPublisher(control)
    [tell] = upgrade.subscribers
    tell("not upgraded", "listem: unknown key")
    [frame] = control.feed.newest(frozenset(TYPES), 5)
    told = msgspec.json.decode(frame.body)
    assert (told["kind"], told["detail"]) == ("not upgraded", "listem: unknown key")
