"""The programs that tests start and pip does not install, and the Debian package of each.

A test names those that it starts: `@pytest.mark.needs("nginx")`. Where one is missing, `tests/conftest.py`
skips the test, or fails it with `--everything` or where CI is set. `.ci/run` installs the packages that
`python3 -m tests.programs` prints. It does so before pip has installed anything, so this module imports the
standard library only.
"""

import shutil
from collections.abc import Collection, Iterable

DEBIAN = {
    "chromedriver": "chromium-driver",
    "chromium": "chromium",
    "curl": "curl",
    "etcd": "etcd-server",
    "etcdctl": "etcd-client",
    "git": "git",
    "haproxy": "haproxy",
    "nginx": "nginx-light",
    "node": "nodejs",
    "openssl": "openssl",
    "pebble": "pebble",
    "pebble-challtestsrv": "pebble",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "slowhttptest": "slowhttptest",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
    "wrk": "wrk",
}


def missing(programs: Iterable[str]) -> list[str]:
    """Those of them that are not on PATH."""
    return sorted(program for program in programs if shutil.which(program) is None)


def path_of(program: str) -> str:
    path = shutil.which(program)
    assert path is not None, f"{program} is not on PATH"
    return path


def packages(programs: Iterable[str]) -> list[str]:
    """The Debian packages that they are in."""
    return sorted({DEBIAN[program] for program in programs})


def advice(absent: Collection[str]) -> str:
    """What is missing and how to get it, in one line."""
    command = f"apt install {' '.join(packages(absent))}"
    where = "; nginx is in /usr/sbin" if "nginx" in absent else ""  # which few users have on PATH
    return f"not on PATH: {', '.join(sorted(absent))} (on Debian: {command}{where})"


if __name__ == "__main__":
    print(*packages(missing(DEBIAN)))
