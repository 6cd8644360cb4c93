"""What a row needs of a program's configuration, and where that program finds the rest of its world."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.kit.certificates import authority, certificate

PATHS_PER_HOST = 100


@dataclass(frozen=True)
class Setting:
    """The configuration that a row is about. Rows of one setting share the programs that run with it.

    With `tls` clients speak TLS. With `routes` a request reaches the backends by one of so many routes or not
    at all; without, all do. With `copies` so many programs run beside each other that do not know of each
    other.
    """

    backends: int = 3
    policy: str = "round_robin"
    routes: int = 0
    logs: bool = False
    workers: int = 1
    copies: int = 1
    tls: bool = False

    @property
    def is_for_all(self) -> bool:
        """Whether the peers have it too. They are asked for round robin only, and for one core."""
        return self.policy == "round_robin" and self.workers == self.copies == 1

    @property
    def hosts(self) -> list[str]:
        count = -(-self.routes // PATHS_PER_HOST)
        return [f"www{number:03}.example.com" for number in range(count)]

    @property
    def paths(self) -> list[str]:
        return [f"/hello/{number:02}" for number in range(min(self.routes, PATHS_PER_HOST))]


PLAIN = Setting()


@dataclass(frozen=True)
class Place:
    """Where a program listens and where its files go; `ports` are those of the one nginx behind it."""

    setting: Setting
    port: int
    ports: list[int]
    root: Path

    @property
    def scheme(self) -> str:
        return "https" if self.setting.tls else "http"

    def write(self, name: str, text: str) -> str:
        path = self.root / name
        path.write_text(text)
        return str(path)

    @property
    def log(self) -> str:
        return str(self.root / "access.log")

    def backends(self) -> Iterator[str]:
        """An address for each backend. All of 127/8 is this machine, so few ports are many backends."""
        for number in range(self.setting.backends):
            yield f"127.1.{number // 250}.{number % 250 + 1}:{self.ports[number % len(self.ports)]}"

    def certificate(self) -> tuple[str, str]:
        """The files of a certificate with a key on P-256, chain and key in one and each in its own."""
        issued = certificate("127.0.0.1", "bench", by=authority())
        return self.write("tls.pem", issued.chain + issued.key_pem), self.write("tls.key", issued.key_pem)

    def servers(self, form: str, join: str = "\n") -> str:
        """Each backend in the words of a configuration: `address` and `port` in `form`."""
        parts = (backend.split(":") for backend in self.backends())
        return join.join(form.format(address=address, port=port) for address, port in parts)
