"""`[[pools.NAME.discover]]`: each mistake names its key."""

import re
from typing import Any

import pytest

from lb.config.loader import build
from lb.errors import ConfigError
from lb.settings.discover_settings import Defaults, Discover


def read(**table: Any) -> Discover:
    return build({"pools": {"web": {"discover": [table]}}}).pools["web"].discover[0]


def test_the_kind_is_the_name_unless_set() -> None:
    plain = read(dns="http://web.example:80")
    assert (plain.kind, plain.name, plain.where) == ("dns", "dns", "http://web.example:80")
    assert read(docker="unix:/run/docker.sock", name="here").name == "here"


def test_every_key_is_read() -> None:
    full = read(
        dns="srv://_http._tcp.web",
        every="ttl",
        least="2s",
        most="10s",
        settle="500ms",
        grace="1m",
        keep=0.25,
        first="0s",
        resolvers=["10.0.0.2"],
        tcp=True,
        weights=False,
        defaults={"max_in_flight": 50, "weight": 3, "labels": {"by": "dns"}},
    )
    assert (full.every, full.least, full.most, full.settle, full.grace) == (None, 2.0, 10.0, 0.5, 60.0)
    assert (full.keep, full.first, full.resolvers) == (0.25, 0.0, ("10.0.0.2",))
    assert (full.tcp, full.weights) == (True, False)
    assert full.defaults == Defaults(max_in_flight=50, weight=3, labels={"by": "dns"})
    assert read(files="x", every="5s").every == 5.0


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({}, ".files: one of dns, files, .* and there is none"),
        ({"dns": "x", "files": "y"}, ".files: one of .* and these are 2: dns, files"),
        ({"files": "x", "tcp": True}, ".tcp: a source of kind files has no such key; dns has"),
        ({"docker": "x", "every": "5s"}, ".every: a source of kind docker has no such key"),
        ({"files": "x", "name": "api"}, ".name: 'api' is what the source of other backends is called"),
        ({"files": "x", "name": "a b"}, ".name: 'a b' may hold letters"),
        ({"files": "x", "keep": 2}, ".keep: 2 is not between 0 and 1"),
        ({"files": "x", "grase": "1s"}, ".grase: unknown key, did you mean `grace`"),
        ({"files": ""}, ".files: '' is not a text"),
        ({"dns": "x", "least": "9s", "most": "5s"}, ".least: 9 s is more than `most`, 5 s"),
        ({"http": "x", "key": "k"}, ".key: there is no `chain`"),
        ({"files": "x", "defaults": {"weight": -1}}, ".defaults.weight: -1 is not between"),
        ({"dns": "x", "every": "soon"}, ".every: expected a duration"),
    ],
)
def test_a_mistake_names_its_key(table: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    mistake, *_ = caught.value.mistakes
    assert re.match(rf"pools\.web\.discover\[0\]{says}", mistake)
