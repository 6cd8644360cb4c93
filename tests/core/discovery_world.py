"""A source of one pool that is followed on a clock set by hand, with its sets written as words."""

from collections.abc import Sequence
from typing import Any

from lb.core.announced import Announced, Announcement, Notice
from lb.core.backend import Backend
from lb.core.following import Following
from lb.core.health.probe_verdict import Check
from lb.core.reconcile import Plan, applying, planning
from lb.settings.discover_settings import Discover
from lb.slices import at_once, made
from tests.core.scene import Request, Scene

SIGNS = {"!": Notice.LEAVING, "?": Notice.NOT_READY}


def said(word: str, **more: Any) -> Announcement:
    """`a` is here, `a!` leaves, `a?` is not ready."""
    name = word.rstrip("!?")
    notice = SIGNS.get(word[len(name) :], Notice.HERE)
    return Announcement(id=name, url=f"http://{name}.test:80", notice=notice, **more)


def announced(*words: str | Announcement) -> Announced:
    return Announced(tuple(each if isinstance(each, Announcement) else said(each) for each in words))


class World(Scene):
    """A pool and its sources, each with a name; `say` is of the first one."""

    def __init__(self, *names: str, grace: float = 30.0, keep: float = 0.5, **settings: Any) -> None:
        super().__init__(**settings)
        self.sources = [
            Following(
                "default",
                Discover(files="x", name=name, grace=grace, keep=keep).checked(),
                drain_timeout=60.0,
            )
            for name in names or ("dns",)
        ]
        self.source = self.sources[0]
        self.last = Plan()

    def say(self, *words: str | Announcement, source: int = 0) -> Plan:
        """A second later the source names these, and is followed."""
        self.clock.now += 1
        self.sources[source].told(announced(*words), self.clock.now)
        return self.follow(source)

    def fail(self, source: int = 0) -> None:
        self.sources[source].failed()

    def follow(self, source: int = 0) -> Plan:
        """What the keeper does after a set, and when something is due; nothing while the source fails."""
        following = self.sources[source]
        if following.good_since is None:
            return Plan()
        plan = at_once(planning(following, self.registry, self.sources, self.clock.now))
        at_once(made(applying(plan, following, self.registry, self.clock)))
        self.last = plan
        return plan

    def wait(self, seconds: float, source: int = 0) -> None:
        """Let time pass; what is due is done on the way."""
        until = self.clock.now + seconds
        while (due := self.last.due) is not None and due <= until:
            self.clock.now = max(due, self.clock.now)
            self.last = self.follow(source) if self.sources[source].good_since is not None else Plan()
            if self.last.due is not None and self.last.due <= self.clock.now:
                raise AssertionError("it is due again at once, for ever")
        self.clock.now = until

    def run_on(self, name: str) -> Request:
        """A request that runs on this backend."""
        request = Request(name)
        self.pool.occupy(self[name], request)
        return request

    def probed(self, *names: str, ok: bool = True) -> None:
        """Probes find that these work, or that they do not."""
        for name in names:
            for _ in range(3):
                self.registry.checked(self[name], Check(ok, "said so", 0.1, self.clock.now))

    @property
    def there(self) -> dict[str, str]:
        """What there is, with what is said of it."""
        return {each.id: each.notice.value for each in self.pool.backends}

    @property
    def used(self) -> Sequence[str]:
        """Those that take requests."""
        return sorted(each.id for each in self.pool.backends if each.is_open)

    def of(self, name: str) -> Backend:
        return self[name]
