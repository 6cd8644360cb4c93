"""What may be said of a backend."""

import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.settings.backend_spec import ID, MAX_WEIGHT, BackendSpec, default_id, is_tls, parse_url
from tests.core.scene import spec


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://a", ("a", 80)),
        ("http://a/", ("a", 80)),
        ("http://a:8080", ("a", 8080)),
        ("http://a:", ("a", 80)),
        ("http://a:65535", ("a", 65535)),
        ("HTTP://A.Example:1", ("a.example", 1)),
        ("http://web_1.internal:80", ("web_1.internal", 80)),
        ("http://a.", ("a.", 80)),
        ("http://127.0.0.1:8000", ("127.0.0.1", 8000)),
        ("http://[::1]:8000", ("::1", 8000)),
        ("http://[::]", ("::", 80)),
        ("http://[fe80::1:2]", ("fe80::1:2", 80)),
        ("http://[fe80::1%25eth0]:81", ("fe80::1%eth0", 81)),
        ("http://[FE80::1%25Eth0.1]", ("fe80::1%Eth0.1", 80)),
        ("http://[fe80::1%eth0]:81", ("fe80::1%eth0", 81)),
        ("http://[fe80::1%252]", ("fe80::1%2", 80)),
        ("https://a", ("a", 443)),
        ("HTTPS://a:8443/", ("a", 8443)),
        ("https://[::1]", ("::1", 443)),
        ("unix:/run/app.sock", ("/run/app.sock", 0)),
        ("UNIX:/run/App.sock", ("/run/App.sock", 0)),
        ("unix:/" + "a" * 106, ("/" + "a" * 106, 0)),
    ],
)
def test_addresses(url: str, expected: tuple[str, int]) -> None:
    assert parse_url(url) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [("https://a", True), ("HTTPS://a:80", True), ("http://a:443", False), ("unix:/https:", False)],
)
def test_tls_is_spoken_with_https(url: str, expected: bool) -> None:
    assert parse_url(url)
    assert is_tls(url) is expected


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "expected http"),
        ("a:80", "expected http"),
        ("//a", "expected http"),
        ("httpss://a", "expected http"),
        ("https://", "names no host"),
        ("https://a/path", "nothing more"),
        ("https:a", "nothing more"),
        ("unix:", "whole path"),
        ("unix:app.sock", "whole path of a socket, such as unix:/run/app.sock"),
        ("unix:./app.sock", "whole path"),
        ("unix:@app", "whole path"),
        ("unix:///run/app.sock", "whole path"),
        ("unix:/run/app.sock?mode=0660", "nothing more"),
        ("unix:/run/", "nothing more"),
        ("unix:/run/a b", "characters"),
        ("unix:/run/a\0b", "characters"),
        ("unix:/" + "a" * 107, "at most 107"),
        ("http://", "names no host"),
        ("http://:80", "names no host"),
        ("http:a", "nothing more"),
        ("http://a/path", "nothing more"),
        ("http://a?q=1", "nothing more"),
        ("http://a#f", "nothing more"),
        ("http://user@a", "nothing more"),
        ("http://u:p@a:80", "nothing more"),
        ("http://@a", "nothing more"),
        ("http://a:0", "port 0"),
        ("http://a:65536", "out of range"),
        ("http://a:99999999999", "out of range"),
        ("http://a:-1", "nothing|could not be cast|[Pp]ort"),
        ("http://a:80:90", "[Pp]ort"),
        ("http://a:x", "[Pp]ort"),
        ("http://a b", "characters"),
        ("http://a\r\nb", "characters"),
        ("http://a\x00", "characters"),
        ("http://\u00e4", "characters"),
        ("http://a:\u0665", "characters"),
        ("http://-a", "names no host"),
        ("http://a-", "names no host"),
        ("http://a,b", "names no host"),
        ("http://a\\b", "names no host"),
        ("http://[::1", "IPv6"),
        ("http://[::g]", "IPv|valid"),
        ("http://[fe80::1%25]", "zone|valid"),
        ("http://[fe80::1%25eth0/0]", "zone|valid|IPv6|nothing"),
        ("http://[fe80::1%25abcdefghijklmnop]", "'abcdefghijklmnop' is not the zone"),
        ("http://127.0.0.1%25eth0", "zone"),
        ("http://a%25eth0", "zone"),
        ("http://" + "a" * 255, "names no host"),
        ("http://.", "names no host"),
    ],
)
def test_g147_what_is_no_address_is_refused_with_the_reason(url: str, says: str) -> None:
    with pytest.raises(ValueError, match=f"^url: .*({says})"):
        parse_url(url)


@given(st.text(max_size=20) | st.from_regex(r"http://[\x20-\x7e]{0,20}", fullmatch=True))
def test_whatever_is_accepted_can_be_connected_to(url: str) -> None:
    try:
        host, port = parse_url(url)
    except ValueError:
        pass
    else:
        if host.startswith("/"):
            assert (port, url[5:]) == (0, host)
            return
        assert re.fullmatch(r"[0-9A-Za-z._:-]+(%[0-9A-Za-z._~-]+)?", host)
        assert 1 <= port <= 65535
        assert parse_url(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}") == (
            host,
            port,
        )


@pytest.mark.parametrize(
    "host", ["a", "web_1", "127.0.0.1", "::1", "::", "fe80::1", "::ffff:1.2.3.4", "a.", "a" * 120]
)
def test_a_default_id_is_an_id(host: str) -> None:
    assert ID.fullmatch(default_id(host, 8000))


def test_addresses_that_differ_have_ids_that_differ() -> None:
    hosts = ["::", "::1", "1::", "1::1", "1:1::", "1.1", "0.0.0.1", "::1%lo", "::1%25lo"]
    hosts += ["/run/a-b", "/run/a/b", "/run/a~b", "/run/a_b", "/" + "a/" * 50 + "b", "/run/a%b"]
    ids = {default_id(host, 80) for host in hosts}
    assert len(ids) == len(hosts)
    assert all(ID.fullmatch(id) for id in ids)


def test_the_id_is_filled_in_and_the_rest_is_left_alone() -> None:
    said = BackendSpec(url="http://web1:8000", weight=3, max_in_flight=7, labels={"rack": "r1"})
    assert said.checked() == msgspec.structs.replace(said, id="web1-8000")
    named = msgspec.structs.replace(said, id="web1")
    assert named.checked() is named


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"id": "a b"}, "id"),
        ({"id": "a/b"}, "id"),
        ({"id": 'a"b'}, "id"),
        ({"id": "a\n"}, "id"),
        ({"id": "{a}"}, "id"),
        ({"id": "-a"}, "id"),
        ({"id": ".."}, "id"),
        ({"id": "\u00e4"}, "id"),
        ({"id": "a" * 129}, "id"),
        ({"weight": -1}, "weight"),
        ({"weight": MAX_WEIGHT + 1}, "weight"),
        ({"max_in_flight": 0}, "max_in_flight"),
        ({"max_in_flight": -1}, "max_in_flight"),
        ({"url": "ftp://a"}, "url"),
    ],
)
def test_g148_a_broken_rule_names_its_field(changed: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=f"^{says}: "):
        msgspec.structs.replace(spec("a"), **changed).checked()


@pytest.mark.parametrize(
    "changed",
    [{"id": "a" * 128}, {"id": "A_b.c~d-e"}, {"weight": 0}, {"weight": MAX_WEIGHT}, {"max_in_flight": 1}],
)
def test_the_rules_let_their_bounds_pass(changed: dict[str, object]) -> None:
    msgspec.structs.replace(spec("a"), **changed).checked()
