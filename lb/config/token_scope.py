"""The scope of an admin token: what its holder may do. Each scope includes the ones before it."""

from enum import StrEnum


class Scope(StrEnum):
    """`read` may look, `drain` may also drain backends and take them back, `admin` may do everything."""

    READ = "read"
    DRAIN = "drain"
    ADMIN = "admin"

    def includes(self, other: "Scope") -> bool:
        ranks = [*Scope]
        return ranks.index(self) >= ranks.index(other)
