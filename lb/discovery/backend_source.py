"""What all sources of backends have in common."""

from collections.abc import Callable
from typing import Protocol

from lb.core.announced import Announced


class SourceFailed(Exception):
    """A source could not say what there is: a sentence that names who was asked, and what came."""


class Source(Protocol):
    """Where backends come from: it knows how to ask, and no rule of what follows.

    `kind` is the word of its setting, such as "dns"; `where` is what was configured, for people.
    """

    kind: str
    where: str

    async def run(self, tell: Callable[[Announced], None]) -> None:
        """Tell each set that is whole and good, the first as soon as there is one, until cancelled.

        One that asks at intervals tells after each answer, so that it is seen to be well; one that is told of
        changes tells after each. From a set on it counts as well until it raises: silence that is not calm is
        for it to notice. It raises SourceFailed, and is run again after a pause. Everything that it opens is
        closed when it is cancelled, which is also how it is made to ask at once.
        """
        ...
