"""How a path is read, and that no spelling leads past a route."""

import posixpath
from collections.abc import Callable
from functools import partial
from time import thread_time
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

import pytest
from hypothesis import event, example, given
from hypothesis import strategies as st

from lb.core.request_path import SPELLED, doubt, reading, readings, stray_readings
from lb.core.routes import PathPolicy, Routes
from lb.errors import BadRequest
from lb.settings.balancer_settings import Route


@pytest.mark.parametrize(
    ("path", "read"),
    [
        (b"/", b"/"),
        (b"/a/b", b"/a/b"),
        (b"/a/", b"/a/"),
        (b"//a//b//", b"/a/b/"),
        (b"/%61%2Fb", b"/a/b"),
        (b"/a/./b/.", b"/a/b/"),
        (b"/a/../b", b"/b"),
        (b"/a/..", b"/"),
        (b"/a/b/..", b"/a/"),
        (b"/../../a", b"/a"),
        (b"/x//../a", b"/a"),
        (b"/x/%2e%2E/a", b"/a"),
        (b"/x/..%2fa", b"/a"),
        (b"/x\\..\\a", b"/x\\..\\a"),
        (b"/a;b=c/d;e", b"/a;b=c/d;e"),
        (b"/...", b"/..."),
        (b"/.a/..b", b"/.a/..b"),
        (b"/%2561", b"/%61"),
        (b"/%zz%4", b"/%zz%4"),
        (b"*", b"*"),
        (b"", b""),
    ],
)
def test_how_a_path_is_read(path: bytes, read: bytes) -> None:
    assert reading(path) == read


@pytest.mark.parametrize(
    ("path", "others"),
    [
        (b"/x\\..\\a", [b"/a"]),
        (b"/x/%5c..%5Ca", [b"/a"]),
        (b"/a;b=c/d;e", [b"/a/d"]),
        (b"/x/..;/a", [b"/a"]),
        (b"/x/..%3bv=1/a", [b"/a"]),
        (b"/;/a", [b"/a"]),
        (b"/x;a\\..\\y", [b"/y", b"/x", b"/y"]),
    ],
)
def test_how_some_servers_read_it_otherwise(path: bytes, others: list[bytes]) -> None:
    assert readings(path)[1:] == others


@pytest.mark.parametrize(
    ("path", "why"),
    [
        (b"/a\\b", "a backslash"),
        (b"//a", "empty segment"),
        (b"/a//", "empty segment"),
        (b"/a/./b", "dot segment"),
        (b"/a/..", "dot segment"),
        (b"/..", "dot segment"),
        (b"/a/..;x/b", "dot segment"),
        (b"/a/..%3Bx/b", "dot segment"),
        (b"/a%2eb", "'%2e'"),
        (b"/a%2Fb", "'%2F'"),
        (b"/a%5Cb", "'%5C'"),
        (b"/a%00", "'%00'"),
        (b"/a%252fb", "'%252f'"),
        (b"/a%25255c", "'%25255c'"),
        (b"/%c0%af", "'%c0'"),
        (b"/%u002e", "'%u0'"),
        (b"/100%", "'%'"),
    ],
)
def test_what_backends_read_in_different_ways(path: bytes, why: str) -> None:
    said = doubt(path)
    assert said is not None
    assert why in said


@pytest.mark.parametrize(
    "path", [b"/", b"/a.b/.c/..d/...", b"/%61%20%25", b"/a;b=c", b"/a/", b"/caf%C3%A9", b"/.well-known/x"]
)
def test_what_all_backends_read_alike(path: bytes) -> None:
    assert doubt(path) is None


# -- no way around -----------------------------------------------------------------------------------------

PIECES: tuple[str, ...] = (
    "/",
    "//",
    "/./",
    "/../",
    "/x/",
    "\\",
    "a",
    "d",
    "min",
    "admin",
    "ADMIN",
    ".",
    "..",
    ";",
    ";x=1",
)
PIECES += ("%", "%2", "%zz", "adminx", "/admin", "/admin/y", "é", "\x00", "25")


def spelled(text: str, how: list[int]) -> bytes:
    """The text with some of its bytes encoded, and some of those with capital digits."""
    written = []
    for at, byte in enumerate(text.encode()):
        choice = how[at % len(how)]
        must = not 0x21 <= byte <= 0x7E or byte in b"?#"
        encoded = b"%%%02X" % byte if choice == 1 else b"%%%02x" % byte
        written.append(encoded if must or choice in (1, 2) else bytes([byte]))
    return b"/" + b"".join(written)


TARGETS = st.builds(
    spelled,
    st.lists(st.sampled_from(PIECES), max_size=8).map("".join),
    st.lists(st.integers(0, 3), min_size=1, max_size=12),
)


def collapsed(path: bytes) -> bytes:
    return posixpath.normpath(b"/" + path.lstrip(b"/"))


def readers(path: bytes) -> dict[str, bytes]:
    """What servers make of a path, each in its own way; this shares nothing with the code under test."""
    decoded = unquote_to_bytes(path)
    slashed = decoded.replace(b"\\", b"/")
    return {
        "usual": collapsed(decoded),
        "a backslash is a slash": collapsed(slashed),
        "parameters do not count": collapsed(without_parameters(decoded)),
        "both": collapsed(without_parameters(slashed)),
    }


def unusual_readers(path: bytes) -> dict[str, bytes]:
    """What those make of it that have an order of their own, or take it for a reference."""
    decoded = unquote_to_bytes(path)
    reference = urlsplit(b"http://a" + path if path[:2] != b"//" else b"http:" + path).path or b"/"
    before_decoding = urljoin(b"http://a/", reference.replace(b"%2e", b".").replace(b"%2E", b"."))
    return {
        "nothing is resolved": decoded,
        "a reference": unquote_to_bytes(reference),
        "resolved before it is decoded": unquote_to_bytes(urlsplit(before_decoding).path),
    }


def without_parameters(path: bytes) -> bytes:
    return b"/".join(segment.split(b";")[0] for segment in path.split(b"/"))


def is_admin(path: bytes) -> bool:
    return path == b"/admin" or path.startswith(b"/admin/")


@given(target=TARGETS, query=st.sampled_from((b"", b"?", b"?a=/../admin")))
@example(target=b"//a//x/admin", query=b"")
@example(target=b"//%61%64mina%2F%2F..//%78%2F/adm%69%6E", query=b"")
@pytest.mark.parametrize("policy", ["normalise", "reject"])
def test_f5_2_whatever_a_server_reads_as_the_route_is_matched_by_it(
    policy: PathPolicy, target: bytes, query: bytes
) -> None:
    read = readers(target)
    routes = Routes([Route(path="/admin", pool="private")], path_policy=policy)
    try:
        pool = routes.pool_for(b"a", target + query)
    except BadRequest:
        event("refused")
        usual = read.pop("usual")
        others = [*read.values(), *unusual_readers(target).values(), *stray_readings(target)]
        assert policy == "reject" or any(is_admin(other) != is_admin(usual) for other in others)
        return
    event(pool)
    for server, path in unusual_readers(target).items():
        assert pool == "private" or not is_admin(path), server
    for server, path in read.items():
        assert is_admin(path) == (pool == "private"), server


@given(TARGETS)
def test_a_reading_is_one_spelling(target: bytes) -> None:
    if SPELLED.search(target) is None:
        assert reading(target) == target
    for path in readings(target):
        assert not {b".", b".."} & {*path.split(b"/")}
        assert b"//" not in path


BEFORE = ("", "/", "/./", "/x/../", "/x//../", "/x/y/../../", "/../")
BEHIND = ("", "/", "/y", "/;x/y", "/y\\z", "//y", "/./y", "/x/../y")


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("how", range(4))
@pytest.mark.parametrize("behind", BEHIND)
def test_f5_2_each_spelling_is_matched(before: str, how: int, behind: str) -> None:
    target = spelled(before + "admin" + behind, [how])
    assert Routes([Route(path="/admin", pool="private")]).pool_for(b"a", target) == "private", target


@pytest.mark.parametrize(
    "path", ["admin;x", "x/..;/admin", "x\\..\\admin", "admin\\y", "admin/..;/y", ";/admin"]
)
@pytest.mark.parametrize("how", range(4))
def test_f5_2_where_servers_disagree_it_goes_nowhere(path: str, how: int) -> None:
    routes = Routes([Route(path="/admin", pool="private")])
    with pytest.raises(BadRequest, match="backends read it in different ways"):
        routes.pool_for(b"a", spelled(path, [how]))
    assert Routes([Route(path="/other", pool="p")]).pool_for(b"a", spelled(path, [how])) == "default"


ELSEWHERE = (
    b"//x/admin",
    b"///x/admin",
    b"/\\x/admin",
    b"/\\u@%2f%61dmin",
    b"//u@h%41/admin",
    b"//x:1/y/../admin",
    b"/admin//../x",
    b"/admin/%2e./x",
    b"/admin/../x",
    b"/x%2fy/../admin",
    b"/x%2fy\\%2E.\\admin",
    b"/x%2fy/..//admin",
)


@pytest.mark.parametrize("target", ELSEWHERE)
def test_what_few_servers_read_as_an_earlier_route_goes_nowhere(target: bytes) -> None:
    routes = Routes([Route(path="/admin", pool="private"), Route(path="/", pool="public")])
    with pytest.raises(BadRequest, match="backends read it in different ways"):
        routes.pool_for(b"a", target)
    later = Routes([Route(path="/x", pool="p"), Route(path="/", pool="p"), Route(path="/admin", pool="q")])
    assert later.pool_for(b"a", target) == "p"


# -- what it costs ----------------------------------------------------------------------------------------

LONGEST = 8192
DECODED = (b"/" + b"%41" * LONGEST)[:LONGEST]
MANY_FORMS = (b"//a@b\\\\c/" + b"%41/" * LONGEST)[: LONGEST - 6] + b"\\../.."


def least(work: Callable[[], object]) -> float:
    """Seconds of this thread, the best of some times."""
    times = []
    for _ in range(15):
        began = thread_time()
        work()
        times.append(thread_time() - began)
    return min(times)


@pytest.mark.alone
def test_percent_signs_that_encode_nothing_cost_no_more_than_those_that_do() -> None:
    nothing = b"/" + b"%" * (LONGEST - 1)
    assert reading(nothing) == nothing
    assert least(partial(reading, nothing)) < 2 * least(partial(reading, DECODED))


@pytest.mark.alone
def test_a_path_of_many_forms_is_decoded_once() -> None:
    assert len(stray_readings(MANY_FORMS)) == 12
    assert least(partial(stray_readings, MANY_FORMS)) < 5 * least(partial(reading, MANY_FORMS))
