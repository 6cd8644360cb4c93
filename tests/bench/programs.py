"""The programs that are measured side by side: how each is started with a setting, and which it can have."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection
from functools import partial
from importlib.metadata import version
from pathlib import Path

from tests.bench.peers import SCRIPTS, caddy, envoy, haproxy, nginx, traefik
from tests.bench.setting import PLAIN, Place, Setting

HERE = Path(__file__).parent
COMPILED = HERE.parents[1] / ".venv-compiled/bin/lb"
NUMBER = re.compile(r"\d+\.\d+\.\d+")
OURS = "trio-lb"
OURS_COMPILED = "trio-lb compiled"
OF_OURS = (OURS, OURS_COMPILED)

Start = Callable[[Place], list[str]]
"""Writes the configuration of a place, and answers the command that runs with it."""

CONFIGURATION = """
listen = ["{scheme}127.0.0.1:{port}"]
{workers}
[admin]
listen = "127.0.0.1:0"
[access_log]
format = "{format}"
file = "{log}"
[timeouts]
backend_idle = "60s"
[pools.{pool}]
policy = "{policy}"
hash.key = "path"
{backends}
{routes}
{tls}
"""
TLS = '[[tls.certificates]]\nchain = "{chain}"'
BACKEND = '[[pools.{pool}.backends]]\nurl = "http://{address}"'
ROUTE = '[[routes]]\nhost = "{host}"\npath = "{path}"\npool = "{pool}"'


def lb(command: list[str], place: Place) -> list[str]:
    """Ours, by the command of one of its virtual environments."""
    setting = place.setting
    pool = "web" if setting.routes else "default"
    routes = [ROUTE.format(host=h, path=p, pool=pool) for h in setting.hosts for p in setting.paths]
    text = CONFIGURATION.format(
        scheme="https://" if setting.tls else "",
        port=place.port,
        tls=TLS.format(chain=place.certificate()[0]) if setting.tls else "",
        workers="" if setting.workers == 1 else f"workers = {setting.workers}",
        format="json" if setting.logs else "off",
        log=place.log,
        pool=pool,
        policy=setting.policy,
        backends="\n".join(BACKEND.format(pool=pool, address=address) for address in place.backends()),
        routes="\n".join(routes),
    )
    return [*command, "run", f"--config={place.write('lb.toml', text)}"]


def lb_by(path: Path) -> Start:
    """Ours, as the command at a path."""
    return partial(lb, [str(path)])


def ancestor(place: Place) -> list[str]:
    binary = place.root / "ancestor"
    subprocess.run(["g++", "-O2", "-pthread", "-o", binary, HERE / "ancestor.cpp"], check=True)
    return [str(binary), str(place.port), *map(str, place.ports)]


def textbook(place: Place) -> list[str]:
    return [sys.executable, str(HERE / "textbook.py"), str(place.port), *map(str, place.ports)]


PROGRAMS: dict[str, Start] = {
    OURS: partial(lb, [sys.executable, "-m", "lb"]),
    OURS_COMPILED: lb_by(COMPILED),
    "HAProxy": haproxy,
    "nginx": nginx,
    "Envoy": envoy,
    "Caddy": caddy,
    "Traefik": traefik,
    "ancestor": ancestor,
    "textbook": textbook,
}
ONLY_PLAIN = ("ancestor", "textbook")
"""They have neither routes nor a log, and no table of backends worth the name."""
NEEDS = {
    OURS_COMPILED: str(COMPILED),
    "HAProxy": "haproxy",
    "nginx": "nginx",
    "Envoy": str(SCRIPTS / "envoy"),
    "Caddy": str(SCRIPTS / "caddy"),
    "Traefik": str(SCRIPTS / "traefik"),
    "ancestor": "g++",
}
ASKS_VERSION = {
    "HAProxy": "-v",
    "nginx": "-v",
    "Envoy": "--version",
    "Caddy": "version",
    "Traefik": "version",
}


def installed() -> list[str]:
    """The programs that this machine has."""
    return [name for name in PROGRAMS if name not in NEEDS or shutil.which(NEEDS[name])]


def can(name: str, setting: Setting) -> bool:
    """Whether the program is measured with this setting."""
    if name in OF_OURS:
        return True
    return setting == PLAIN if name in ONLY_PLAIN else setting.is_for_all


def versions(names: Collection[str]) -> str:
    found = [f"trio-lb {version('trio-lb')} on CPython {sys.version.split()[0]}, trio {version('trio')}"]
    for name in names:
        if name in ASKS_VERSION:
            command = [NEEDS[name], ASKS_VERSION[name]]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            number = NUMBER.search(done.stdout + done.stderr)
            found.append(f"{name} {number[0] if number else 'of unknown version'}")
    return "; ".join(found)
