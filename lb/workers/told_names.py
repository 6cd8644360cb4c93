"""What is known of host names, as the keeper tells it and a worker hears it."""

import socket

from lb.net.resolver import Found
from lb.workers.messages import NameFound


def as_told(found: Found) -> NameFound:
    addresses = found.addresses
    all_told = None if addresses is None else [(int(family), where) for family, where in addresses]
    return NameFound(found.host, all_told, found.why, found.is_unanswered)


def as_found(name: NameFound) -> Found:
    addresses = name.addresses
    known = None if addresses is None else [(socket.AddressFamily(family), at) for family, at in addresses]
    return Found(name.host, known, name.why, name.is_unanswered)
