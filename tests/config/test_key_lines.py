"""On which line each key of a file stands."""

import tomllib

import pytest

from lb.config.key_lines import KeyLines
from lb.config.spoken_keys import ordinal, spoken

TEXT = """\
# listen = 1
listen = [  # two
  ":80",
  ":81", ":82",  # ["
]
via = '''
[not.a.table]
'''
[pools."a b".probe]
interval = 3
[[pools.web.backends]]
url = "http://a"
[[pools.web.backends]]
url = "http://b # ["
[pools.web.backends.labels]
rack = "\\"]"
[pools.inline]
backends = [{ url = "a" },
  { url = "b" }]
[admin]
listen.x = 1
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("listen", 2),
        ("listen[0]", 3),
        ("listen[1]", 4),
        ("listen[2]", 4),
        ("listen[3]", 2),
        ("via", 6),
        ('pools."a b".probe.interval', 10),
        ('pools."a b"', 9),
        ("pools.web", 11),
        ("pools.web.backends[0].url", 12),
        ("pools.web.backends[1].url", 14),
        ("pools.web.backends[1].labels.rack", 16),
        ("pools.web.backends[1].weight", 13),
        ("pools.inline.backends[1].url", 19),
        ("admin.listen.x", 21),
        ("not.a.table", None),
        ("zzz", None),
    ],
)
def test_a_key_has_its_line(key: str, line: int | None) -> None:
    assert tomllib.loads(TEXT)
    assert KeyLines(TEXT).line(key) == line


def test_a_key_may_have_escapes_that_json_has_not() -> None:
    text = "listen = ':80'\n\"\\U0001F600\" = 1\n'a\\x' = 2\n"
    assert [KeyLines(text).line(key) for key in ('"\\ud83d\\ude00"', '"a\\\\x"')] == [2, 3]


def test_a_dotted_key_begins_what_is_on_its_way() -> None:
    lines = KeyLines("[admin]\na.b.c = 1\nroutes.x.path = 2")
    assert [lines.line(key) for key in ("admin", "admin.a", "admin.a.b", "admin.routes")] == [1, 2, 2, 3]


def test_what_a_flag_sets_has_no_line() -> None:
    lines = KeyLines(TEXT, besides={("pools", "web", "backends")})
    assert lines.line("pools.web.backends[0].url") is None
    assert lines.line("via") == 6


def test_people_count_from_the_first() -> None:
    assert [ordinal(index) for index in (0, 9, 10, 11, 20, 21, 22, 110)] == [
        *("first", "tenth", "11th", "12th", "21st", "22nd", "23rd", "111th")
    ]
    assert spoken("tls.clients[0].hosts[1]") == "the first of tls.clients: the second of hosts"
    assert spoken('pools."a b".backends[1].url') == 'the second of pools."a b".backends: url'
    assert spoken("timeouts.connect") == "timeouts.connect"
