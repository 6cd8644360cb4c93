"""What a line that is no TOML was probably meant to be."""

import pytest

from lb.config.loader import parse
from lb.config.toml_hints import LONGEST_LINE, hint
from lb.errors import ConfigError

QUOTES = " Only numbers, true and false need no quotes"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("connect = 2s", 'connect = "2s"'),
        ("connect = 2s  # two", 'connect = "2s"  # two'),
        ("  interval = 2 s", 'interval = "2 s"'),
        ("interval = 2 seconds", 'interval = "2s"'),
        ("size = 10MB,", 'size = "10MB"'),
        ("url = http://10.0.0.1:80", 'url = "http://10.0.0.1:80"'),
        ("listen = 127.0.0.1:8080", 'listen = "127.0.0.1:8080"'),
        ("trusted_proxies = 10.0.0.0/8", 'trusted_proxies = "10.0.0.0/8"'),
        ("listen = [127.0.0.1:80, ':81']", "listen = [\"127.0.0.1:80\", ':81']"),
        ("status = [200-399, 503]", 'status = ["200-399", 503]'),
        ("probe = { path = /x, port = 9 }", 'probe = { path = "/x", port = 9 }'),
        ("policy: hash", 'policy = "hash"'),
        ("policy hash", 'policy = "hash"'),
        ("state = C:\\lb", "state = 'C:\\lb'"),
    ],
)
def test_a_text_lacks_its_quotes(line: str, meant: str) -> None:
    assert hint(line) == f"; did you mean `{meant}`?{QUOTES}"


def test_a_part_of_a_list_lacks_them() -> None:
    assert hint("127.0.0.1:8080,", is_item=True) == f'; did you mean `"127.0.0.1:8080",`?{QUOTES}'
    assert hint("127.0.0.1:8080,") == ""


@pytest.mark.parametrize("line", ["via = None", "via: null", "via = nil,"])
def test_for_no_value_there_is_no_line(line: str) -> None:
    assert hint(line) == "; for no value leave the line out, `# via =`"


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ('url = "http://a', 'url = "http://a"'),
        ("url = 'http://a\"", 'url = "http://a"'),
        ("forwarded = True", "forwarded = true"),
        ("forwarded = yes;", "forwarded = true"),
        ('via = "a";', 'via = "a"'),
        ('via := "a"', 'via = "a"'),
        ('via == "a"', 'via = "a"'),
        ('via => "a"', 'via = "a"'),
        ("// a comment", "# a comment"),
        ("; a comment", "# a comment"),
        ("queue = 5 // as many", "queue = 5  # as many"),
        ("queue = 010", "queue = 10"),
        ("queue = 10;", "queue = 10"),
        ("listen = 8080;", 'listen = ":8080"'),
        ("listen 8080;  # all", 'listen = ":8080"  # all'),
        ("queue = 1,000", "queue = 1000"),
        ("[pools default]", "[pools.default]"),
        ("[pools.my own pool]", "[pools.my-own-pool]"),
        ("all = [True, FALSE]", "all = [true, false]"),
        ("queue: 5", "queue = 5"),
        ("via = \u201cedge\u201d", 'via = "edge"'),
        ("[[pools.default.backends]", "[[pools.default.backends]]"),
        ("[pools.default", "[pools.default]"),
    ],
)
def test_other_slips(line: str, meant: str) -> None:
    assert f"did you mean `{meant}`?" in hint(line)


@pytest.mark.parametrize("line", ["= 3", "{", "a = {", "connect = ", f"a = b{'c' * LONGEST_LINE}"])
def test_nothing_is_made_up(line: str) -> None:
    assert hint(line) == ""


def test_a_syntax_error_has_the_hint() -> None:
    with pytest.raises(ConfigError, match=r"^TOML, line 2, column 12: .*; did you mean `connect = \"2s\"`"):
        parse("[timeouts]\nconnect = 2s")
