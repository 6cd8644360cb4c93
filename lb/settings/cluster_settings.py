"""`[cluster]`: the etcd in which several balancers share what their operators wish (`lb.cluster`)."""

from typing import Annotated, Literal

import msgspec

from lb.settings.backend_spec import ID
from lb.settings.values import FilePath, positive_duration

LEAST_TTL = 2.0
MOST_TTL = 3600.0
EXPECTED = "a slash and one or more words, such as /trio-lb/main"


def _prefix(value: object) -> str:
    prefix = msgspec.convert(value, str).rstrip("/")
    words = prefix.removeprefix("/").split("/")
    if not prefix.startswith("/") or not all(ID.fullmatch(word) for word in words):
        raise ValueError(f"{prefix!r} is not {EXPECTED}")
    return prefix


def _name(value: object) -> str:
    name = msgspec.convert(value, str)
    if not ID.fullmatch(name):
        raise ValueError(f"{name!r} may hold letters, digits and . _ ~ - only")
    return name


def whole_seconds(value: object) -> float:
    """How long a member may be silent."""
    seconds = positive_duration(value)
    if not LEAST_TTL <= seconds <= MOST_TTL or seconds != int(seconds):
        raise ValueError(f"{seconds:g} s is no whole number of seconds from {LEAST_TTL:g} to {MOST_TTL:g}")
    return seconds


class ClusterSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The etcd in which several balancers share what their operators wish. They are one for whoever operates
    them; each serves, probes and finds backends for itself, and nothing of a request goes through etcd.

    Shared are wishes: the differences from the configuration that a state file keeps, which a cluster does
    not have. A change is tried on the balancer that was asked, put into etcd in one transaction, and applied
    by each balancer when etcd tells of it; then it is answered. Where two operators change the same, the
    second change is tried again with what the first has changed; `keep_available` and If-Match hold between
    balancers. Where a balancer has died, and did not end in order, an awaited drain names it after twice
    `ttl`, and is not `sure`: it may still use the backend. DELETE /cluster/members/NAME forgets one for
    good. None is forgotten for its silence, however long: one that is cut off from etcd serves on with the
    wishes that it knows, and looks like a dead one, so that only a person can know that it is gone.

    While etcd does not answer, traffic goes on. Changes are 503 (nothing was changed) or 504 (it is not
    known), and never queued; commands end with exit code 1 then, and with 4 where a drain is not sure.
    `?local=true` changes one balancer alone, which is a trouble until it is
    withdrawn by DELETE /backends/ID/local. With workers the keeper alone speaks to etcd. An upgrade makes a
    second member, NAME~PID, until the former program has ended. Wishes hold no secrets: tokens and
    `sticky.secret_file` are files on each balancer.

    A wish is 0.3 KB and 0.1 ms of work for each balancer, so it is not etcd that bounds a cluster: with
    1,000 balancers and 10,000 backends it has 300 keep-alives and 17 looks a second, and 10 changes a second
    are its budget. But probes every 2 s would be 500 a second on each backend, and each balancer would keep
    connections to all. Up to some 50 balancers with 500 backends longer probe intervals are enough. A cap
    (`max_in_flight`) is that of one balancer: set it to the cap divided by their number.
    """

    etcd: tuple[str, ...]
    """The URLs of all endpoints: ["http://10.0.0.1:2379", "http://10.0.0.2:2379"]; https:// is TLS. etcd 3.4
    or newer, by its JSON gateway."""
    prefix: Annotated[str, _prefix] = "/trio-lb/main"
    """What all keys of this cluster begin with. Several clusters may share an etcd."""
    name: Annotated[str, _name] = ""
    """How the others call this balancer; the host's name unless set. No two may have the same."""
    user: str | None = None
    """Who this balancer is to etcd, where that has users."""
    password_file: FilePath | None = None
    """The file with the password of `user`; open to its owner alone. It is read again whenever etcd wants the
    password again, as after a change of it, so that a new one needs no restart."""
    ca: FilePath | None = None
    """For https: a file of authorities to believe; those of the system unless set."""
    chain: FilePath | None = None
    """For https: our certificate with its chain, where etcd wants one."""
    key: FilePath | None = None
    """Its key, unless it is in the same file."""
    ttl: Annotated[float, whole_seconds] = 10.0
    """A balancer that etcd has not heard for so long counts as lost. Whole seconds, 2 s or more."""
    lost: Literal["serve", "unready"] = "serve"
    """What a balancer does that may be lost: it serves on; "unready": it says 503 at /readyz too, before the
    others can count it as lost, so that whoever is in front of it stays away."""
    start: Literal["wait", "config"] = "wait"
    """What a start does where neither etcd nor the cache tells the wishes. It waits: clients are refused, so
    that whoever is in front goes on to another balancer; /readyz, `systemctl status` and a line in the log
    say for what. On a socket from systemd (fd://3) they wait too. "config": it serves as configured, and may
    so use a backend that is drained."""
    cache: FilePath | None = None
    """A file that keeps the last wishes, for a start while etcd is away, and local overrides."""

    def checked(self) -> "ClusterSettings":
        """These settings; ValueError that names the key of a contradiction."""
        if not self.etcd:
            raise ValueError("etcd: expected the URL of at least one endpoint")
        if self.key is not None and self.chain is None:
            raise ValueError("key: there is no `chain` that it belongs to")
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file: there is no `user` whose password it is")
        return self
