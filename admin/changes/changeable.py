"""A handler of a change, called as the call wants it: on a copy that is thrown away, here, or everywhere."""

from collections.abc import Callable

from admin.changes.dry_run import rehearsable
from admin.changes.shared_change import shared
from admin.protocol.operation import Handler
from lb.control import Control


def changeable(control: Control, handler: Callable[[Control], Handler]) -> Handler:
    """What `?dry_run=true` and `?local=true` say of an operation holds for this handler of it."""
    return rehearsable(control, handler, otherwise=shared(control, handler))
