"""The banner: what `lb run` prints on the terminal once everything listens."""

from collections.abc import Collection, Sequence
from shlex import quote
from typing import TYPE_CHECKING

from lb.suggestions import plural

if TYPE_CHECKING:
    from lb.settings.balancer_settings import Config


def banner(
    config: "Config",
    listening: Sequence[str],
    admin: str | None,
    backends: Sequence[str],
    tls_listening: Collection[str] = (),
) -> str:
    """The text of the banner.

    `listening` and `admin` are the addresses that were bound, as `HOST:PORT` or `unix:PATH`; `admin` is None
    where it is switched off. `backends` are the URLs in the registry, after the state file was applied.
    TLS is spoken at `tls_listening`.
    """
    addresses = _addresses(listening, admin, tls_listening)
    reached = f"https://{admin}" if admin in tls_listening else admin
    if config.demo:
        return _demo(addresses, listening[0], reached, backends)
    return _plain(config, addresses, reached, backends)


def _demo(addresses: Sequence[str], first: str, admin: str | None, backends: Sequence[str]) -> str:
    tries = [(curl(first), "three times: Server 1, 2, 3")]
    if admin is not None:
        tries.append((curl(admin, "/backends"), "who there is, and how they are"))
        drain = curl(admin, "/backends/server1/drain?wait=30s", "-X POST ")
        tries.append((drain, "ends when its last request has"))
    width = max(len(command) for command, _ in tries)
    return "\n".join(
        [
            "trio-lb DEMO: it balances three small backends of its own.",
            "",
            *addresses,
            f"  backends    {'  '.join(backends)}",
            "",
            "Try:",
            *(f"  {command:<{width}}  # {what}" for command, what in tries),
            "",
            "With servers of your own:",
            "  lb run --backend http://127.0.0.1:3000",
        ]
    )


def _plain(config: "Config", addresses: Sequence[str], admin: str | None, backends: Sequence[str]) -> str:
    count = f"{plural(len(backends), 'backend')} in {plural(len(config.pools), 'pool')}"
    if not backends and admin is not None:
        count += f"; add one: {curl(admin, '/backends')} -d url=http://127.0.0.1:3000"
    return "\n".join([*addresses, f"  backends    {count}"])


def _addresses(listening: Sequence[str], admin: str | None, secure: Collection[str]) -> list[str]:
    lines = [f"  listening   {_shown(address, is_tls=address in secure)}" for address in listening]
    return [*lines, f"  admin       {'none' if admin is None else _shown(admin, is_tls=admin in secure)}"]


def _shown(address: str, *, is_tls: bool = False) -> str:
    scheme = "https://" if is_tls else "http://"
    return address if address.startswith("unix:") else f"{scheme}{address}"


def curl(address: str, path: str = "/", options: str = "") -> str:
    """A curl command that reaches this address from the same machine, quoted for a shell."""
    if address.startswith("unix:"):
        return f"curl {options}--unix-socket {quote(address[5:])} {quote('http://localhost' + path)}"
    scheme = "https://" if address.startswith("https://") else ""
    host, _, port = address.removeprefix(scheme).rpartition(":")
    host = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
    url = f"{scheme}{host}:{port}{'' if path == '/' else path}"
    return f"curl {options}{quote(url)}"
