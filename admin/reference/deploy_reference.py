"""Files to deploy with: units for systemd, their lb.toml, and what containers need."""

from importlib.resources import files

from admin.reference.topic import Entry, Topic

PREFACE = """\
Each can be had by itself: lb docs lb.service > /etc/systemd/system/lb.service
"""
NAMES = ("lb.socket", "lb.service", "lb.toml", "Dockerfile", "compose.yml", "kubernetes.yml")


def deploy_topic() -> Topic:
    """Every file."""
    return Topic(tuple(Entry(name, unit(name)) for name in NAMES), PREFACE)


def unit(name: str) -> str:
    """One of the files."""
    return files("admin.reference").joinpath("units", name).read_text()
