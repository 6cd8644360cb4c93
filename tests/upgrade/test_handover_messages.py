"""What two programs say to each other, also where they are of different versions."""

import msgspec
import pytest

from lb.config.state_file import PoolChanges
from lb.errors import NotUpgraded
from lb.settings.backend_spec import BackendSpec
from lb.upgrade.handover_messages import (
    LENGTH,
    OLDEST,
    VERSION,
    InFlight,
    Message,
    Offer,
    Ready,
    Refused,
    Replaced,
    RunningDrain,
    Serving,
    Sockets,
    TakeOver,
    Wished,
    agreed,
    framed,
    read,
)

WEB1 = BackendSpec(id="web1", url="http://10.0.0.1:80", weight=3)
OFFER = Offer(
    program="0.1.0",
    pid=7,
    listeners=(Sockets(address=":8080", descriptors=(3, 4)),),
    admin=Sockets(address="127.0.0.1:9000", descriptors=(5,)),
    changes={"default": PoolChanges(added=(WEB1,), admin_state={"web1": "draining"}, settings={"queue": 3})},
    down={"web2": "connection refused"},
    cookie_key=b"\x00\xff",
    upgrades=2,
)
DRAIN = RunningDrain(spec=WEB1, pool="default", left=2.5, age=1.5, then="remove", started_with=4)


@pytest.mark.parametrize(
    "message",
    [
        OFFER,
        Ready(program="0.2.0", pid=8, taken=(":8080",)),
        Refused(why="listem: unknown"),
        TakeOver(drains=(DRAIN,), in_flight={"web1": 2}, draining_for=3.0),
        Serving(),
        Replaced(),
        InFlight(counts={"web1": 1}),
        Wished(backend="web1", wish="draining", left=3.0),
    ],
)
def test_what_is_sent_is_what_is_read(message: Message) -> None:
    data = framed(message, 3)
    assert LENGTH.unpack(data[: LENGTH.size]) == (len(data) - LENGTH.size, 3)
    assert read(data[LENGTH.size :]) == message


def test_a_field_of_a_newer_program_is_ignored() -> None:
    told = msgspec.json.decode(framed(OFFER, 0)[LENGTH.size :])
    assert read(msgspec.json.encode(told | {"moon": "full"})) == OFFER


@pytest.mark.parametrize("data", [b'{"type": "Sing"}', b'{"type": "Ready"}', b"", b"[]"])
def test_a_message_of_another_kind_is_an_error_in_words(data: bytes) -> None:
    with pytest.raises(NotUpgraded, match="the other program said what this one does not understand"):
        read(data)


@pytest.mark.parametrize(
    ("oldest", "newest", "found"), [(1, 1, 1), (1, VERSION + 5, VERSION), (OLDEST, VERSION, VERSION)]
)
def test_two_programs_agree_on_the_newest_version_of_both(oldest: int, newest: int, found: int) -> None:
    assert agreed(msgspec.structs.replace(OFFER, oldest=oldest, newest=newest)) == found


@pytest.mark.parametrize(("oldest", "newest"), [(VERSION + 1, VERSION + 2), (0, OLDEST - 1)])
def test_without_a_common_version_it_is_said_what_to_do(oldest: int, newest: int) -> None:
    with pytest.raises(NotUpgraded, match="stop it, and start this one"):
        agreed(msgspec.structs.replace(OFFER, oldest=oldest, newest=newest))
