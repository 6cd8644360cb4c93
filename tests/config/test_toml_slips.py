"""Where a mistake of TOML began, which is often before the place where tomllib stops."""

import pytest

from lb.config.loader import parse
from lb.errors import ConfigError


def message(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            'listen = ":80\n[admin]\nlisten = ":9000"',
            'line 1, column 10: the text that begins here has no " at its end; did you mean `listen = ":80"`',
        ),
        ("via = 'a", "line 1, column 7: the text that begins here has no ' at its end; did you mean"),
        (
            'listen = [\n  ":80",\n  ":81,\n]',
            'line 3, column 3: the text that begins here has no " at its end',
        ),
        (
            'via = """a\n[admin]\nlisten = ":9000"\n',
            'line 1, column 7: the text that begins here with """ never',
        ),
        (
            "# '''\nvia = '''a\n[admin]\n",
            "line 2, column 7: the text that begins here with ''' never ends with '''",
        ),
        ('[pools."a]\nqueue = 5', 'line 1, column 8: the text that begins here has no " at its end'),
        ('state = "C:\\lb"', "line 1, column 14: in double quotes \\ begins an escape"),
        ('state = "C:\\Users"', "in double quotes \\ begins an escape"),
        ('listen = [":80, ":81"]', "line 1, column 18: one of the quotes on this line has no partner"),
    ],
)
def test_quotes_that_are_not_closed(text: str, said: str) -> None:
    assert said in message(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('listen = [\n":80", # ]\n\nvia = "a"', "line 1, column 10: the [ that begins here has no ]"),
        ('listen = [\n":80"\n[admin]\nlisten = ":9"', "line 1, column 10: the [ that begins here has no ]"),
        ('listen = [\n":80"', "line 1, column 10: the [ that begins here has no ]"),
        ("[pools.a]\nprobe = { path = '/'\n", "line 2, column 9: the { has no } on its line"),
        (
            "pools.a.backends = [{ url = 'http://a', }]",
            "line 1, column 41: an inline table, { ... }, has no comma",
        ),
        ("listen = [':80' ':81']", "line 1, column 17: a comma is missing before this"),
        ("listen = [\n':80'\n':81']", "line 3, column 1: a comma is missing before this"),
        ("probe = { path = '/' port = 9 }", "line 1, column 22: a comma is missing before this"),
        ("[admin\nlisten = ':9'", "did you mean `[admin]`?"),
        ("listen = [127.0.0.1:80]", 'did you mean `listen = ["127.0.0.1:80"]`?'),
    ],
)
def test_brackets_and_commas(text: str, said: str) -> None:
    assert said in message(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[pools.a]\n[admin]\n[pools.a]", "line 3: pools.a stands on line 1 already; put its keys together"),
        ("admin.listen = ':9'\n[admin]", "line 2: admin stands on line 1 already; put its keys together"),
        (
            "[pools.a.backends]\n[pools.a.backends]",
            "line 2: pools.a.backends stands on line 1 already; each one begins with [[pools.a.backends]]",
        ),
        ("[[routes]]\n[routes]", "line 2: routes stands on line 1 already; each one begins with [[routes]]"),
        ("via = 'a'\n# via\nvia = 'b'", "line 3: via stands on line 1 already; leave one of them out"),
        ("listen = [\n':80']\nlisten = [\n':81',\n]\n", "line 5: listen stands on line 1 already"),
        (
            "[[routes]]\npool = 'a'\n[[routes]]\npool = 'a'\npool = 'b'",
            "line 5: the second of routes: pool stands on line 4 already",
        ),
        ("admin = { listen = ':9' }\nadmin.enabled = true\n", "line 2: admin stands on line 1 already"),
    ],
)
def test_what_stands_there_twice(text: str, said: str) -> None:
    assert said in message(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{ "listen": ":80" }', "line 1, column 1: this is JSON, and not TOML; lb config init writes"),
        (
            "# nginx\nserver {\n listen 80;\n}",
            "line 2, column 8: this is a file of nginx, Caddy or the like, ",
        ),
        (
            "user a;\nhttp {\n  server {\n  }\n}",
            "line 1, column 6: this is a file of nginx, Caddy or the like",
        ),
        (":80 {\n reverse_proxy a:1\n}", "line 1, column 1: this is a file of nginx, Caddy or the like"),
        ("global\n  daemon\n", "this is a file of HAProxy, and not TOML; lb config init writes a file to"),
        ("listen: 80\nadmin:\n  listen: 1", "line 1, column 7: this is YAML, and not TOML; lb config init"),
        ("via = 'a'\n{ }", "line 2, column 1: this is JSON, and the file is TOML"),
        ("via = 'a'\nserver {\n}", "line 2, column 8: a table begins with [NAME] here, and has no braces"),
        ("via = 'a'\nadmin:\n  listen: 1", "line 2, column 6: this is YAML, and the file is TOML"),
        ("via = a\npools.a.backends = [\n{ url = 'http://a' },\n]", 'did you mean `via = "a"`'),
        ("via = 'a'; state = 'b'", "line 1, column 10: each key stands on a line of its own"),
        ("timeouts.connect = 1 timeouts.send = 2", "line 1, column 22: each key stands on a line of its own"),
        ("via = 'a'\rstate = 'b'\r", "the lines end as on old Macs, with CR alone"),
        ('[admin]\r\nlisten = "a\r\n', 'line 2, column 10: the text that begins here has no " at its end'),
        ("via = \n", "line 1, column 7: Invalid value"),
    ],
)
def test_other_kinds_of_files(text: str, said: str) -> None:
    assert said in message(text)
