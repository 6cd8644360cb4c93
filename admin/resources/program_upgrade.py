"""/upgrade: replace the program by another one without losing a connection.

The call answers when the new program serves; the answer comes from the old one. An upgrade belongs to the
balancer, so a call that is interrupted does not end it. What is started is up to the configuration file and
to the command line, never to the call.
"""

import os

import msgspec
from quart import Response

from admin.input import parameters
from admin.protocol import responses
from admin.protocol.call import Call
from admin.protocol.operation import Operation
from admin.protocol.problems import Problem
from admin.resources.configuration import Reloaded, long_lists, would_reload
from lb.about import BUILD, VERSION
from lb.control import Control, Upgrade
from lb.errors import ConfigError, NotUpgraded


class Side(msgspec.Struct, kw_only=True):
    """One of the two programs; `pid` is null where it does not run."""

    pid: int | None
    version: str


class Upgraded(msgspec.Struct, kw_only=True):
    """Which program was replaced by which; in a dry run, which one would be started.

    A dry run also says how the configuration would differ, as this program understands the file (null where
    it does not, which `notes` say), and has the notes of the new program's `lb config check`.
    """

    applied: bool
    before: Side
    after: Side
    seconds: float | None = None
    command: list[str] | msgspec.UnsetType = msgspec.UNSET
    configuration: Reloaded | msgspec.UnsetType | None = msgspec.UNSET
    notes: list[str] = []


def operations(control: Control) -> tuple[Operation, ...]:
    """The one operation."""

    async def upgrade(call: Call) -> Response:
        await call.take_posted_parameters()
        if control.upgrade is None:
            raise Problem("conflict", "this balancer is a part of another program, which starts it")
        try:
            if call.get(parameters.DRY_RUN):
                answer = await _rehearsal(await _rehearsed(control, control.upgrade))
                answer.headers[responses.DRY_RUN_FIELD] = "true"
                return answer
            return responses.json(await _upgraded(control.upgrade))
        except NotUpgraded as exc:
            control.audit.failed(409, why := _on_one_line(str(exc)))
            raise Problem("conflict", why) from exc

    return (
        Operation(
            method="POST",
            path="/upgrade",
            summary="replace this program by a new one, which takes over its sockets; ?dry_run=true",
            handler=upgrade,
            parameters=(parameters.DRY_RUN,),
            posted_parameters=True,
            answers={200: Upgraded},
            problems=(409,),
        ),
    )


async def _upgraded(upgrade: Upgrade) -> Upgraded:
    done = await upgrade()
    return Upgraded(
        applied=True,
        before=_this_one(),
        after=Side(pid=done.pid, version=done.version),
        seconds=done.seconds,
    )


async def _rehearsed(control: Control, upgrade: Upgrade) -> Upgraded:
    found = await upgrade.rehearse()
    notes, difference = [*found.notes], None
    try:
        difference = await would_reload(control)
    except ConfigError as exc:
        notes.append(f"this program does not understand the file: {_on_one_line(str(exc))}")
    return Upgraded(
        applied=False,
        before=_this_one(),
        after=Side(pid=None, version=found.version),
        command=[*found.command],
        configuration=difference,
        notes=notes,
    )


async def _rehearsal(found: Upgraded) -> Response:
    difference = found.configuration
    lists = long_lists(difference, "configuration.") if isinstance(difference, Reloaded) else {}
    return await responses.long_json(found, lists)


def _on_one_line(text: str) -> str:
    """Several mistakes stand on lines of their own."""
    first, *others = map(str.strip, text.splitlines())
    return f"{first}: {'; '.join(others)}" if others else first


def _this_one() -> Side:
    return Side(pid=os.getpid(), version=f"{VERSION} ({BUILD})")
