"""How far an operator may reach: each scope includes those before it."""

from enum import StrEnum


class Scope(StrEnum):
    """`read` looks; `drain` also takes what there is out and back in; `admin` may do everything."""

    READ = "read"
    DRAIN = "drain"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        ranks = [*Scope]
        return ranks.index(self) >= ranks.index(other)
