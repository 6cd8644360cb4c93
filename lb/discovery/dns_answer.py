"""What an answer of a name server says of the records that were asked for.

An answer that has none of them is one of three things, and they are told apart: the name has no such records,
which is good to know; the name does not exist; or the name server could not say, and then another one may. A
server that only names others to be asked has not said that there is nothing (RFC 2308 section 2.2), nor has
one that gives addresses for records which it leaves out.
"""

from typing import NamedTuple

from lb.discovery.dns_message import Kind, Message, Rcode, Record, text_of

MOST_ALIASES = 16
"""How many names may lead to one another until there are records."""


class Unhelpful(Exception):
    """A name server has said nothing that is of use: what it did, to be read behind its address.

    After one that `is_silent` the same question may be asked again.
    """

    def __init__(self, what: str, *, is_silent: bool = False) -> None:
        super().__init__(what)
        self.is_silent = is_silent


class NameMissing(Exception):
    """A name does not exist: which one, and whose alias it is."""


class Found(NamedTuple):
    """The records that a name has, perhaps none.

    They count for `ttl` seconds, None where nothing says how long. `beside` are addresses that the server has
    sent along. Where there is a `further` name, its records are to be asked for, since the answer ends there.
    """

    records: list[Record]
    ttl: int | None
    beside: list[Record]
    further: bytes | None = None


def found(message: Message, name: bytes, kind: Kind) -> Found:
    """What was found of this name. Raises NameMissing and Unhelpful."""
    if message.rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN):
        raise Unhelpful(f"answers {_said(message.rcode)}")
    last, ttls = _followed(message, name, kind)
    if message.rcode == Rcode.NXDOMAIN:
        alias = "" if last == name else f", of which {text_of(name)} is an alias,"
        raise NameMissing(f"{text_of(last)}{alias} does not exist")
    if records := [record for record in message.answer if record.kind == kind and record.name == last]:
        ttl = min(*ttls, *(record.ttl for record in records)) if ttls else min(r.ttl for r in records)
        return Found(records, ttl, message.additional)
    return _nothing(message, last, ttls, is_alias=last != name)


def _followed(message: Message, name: bytes, kind: Kind) -> tuple[bytes, list[int]]:
    """The name that aliases lead to, and for how long each of them counts."""
    aliases = {record.name: record for record in message.answer if record.kind == Kind.CNAME}
    ttls: list[int] = []
    while (alias := aliases.pop(name, None)) is not None:
        ttls.append(alias.ttl)
        name = alias.data
        if len(ttls) > MOST_ALIASES:
            raise Unhelpful(f"names more than {MOST_ALIASES} aliases, one behind the other")
    if ttls and any(record.name == name and record.kind == Kind.CNAME for record in message.answer):
        raise Unhelpful(f"says that {text_of(name)} is an alias of itself")
    return name, ttls


def _nothing(message: Message, last: bytes, ttls: list[int], *, is_alias: bool) -> Found:
    """What an answer without such records says."""
    endings = [record.ttl for record in message.authority if record.kind == Kind.SOA]
    is_delegated = any(record.kind == Kind.NS for record in message.authority)
    if is_delegated and not endings:
        raise Unhelpful("names other servers to be asked, and looks nothing up itself")
    if message.additional and not is_delegated:  # Consul by UDP, where no record has room
        raise Unhelpful("leaves the records out that its answer has addresses for; `tcp = true` may help")
    ttl = min([*ttls, *endings], default=None)
    return Found([], ttl, [], last if is_alias and not endings else None)


def _said(rcode: int) -> str:
    return Rcode(rcode).name if rcode in set(Rcode) else f"with code {rcode}"
