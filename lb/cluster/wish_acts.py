"""Whose wish has changed something, in the audit of each balancer that applies it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from lb.cluster.shared_wishes import Wish
from lb.observe.audit_trail import Act, Audit


def noted_in(audit: Audit) -> Callable[[str, Wish], AbstractContextManager[None]]:
    """What changes within is the act of who made this wish, perhaps on another balancer."""

    @contextmanager
    def acting(key: str, wish: Wish) -> Iterator[None]:
        act = Act(who=wish.by, source=wish.on, operation="wish", target=key)
        with audit.act(act):
            yield
        if act.count:
            audit.note(act)

    return acting
