"""What is said to an authority, and what is made of its answers: nonces, accounts, refusals, nonsense."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from lb.acme.acme_errors import LONGEST_DETAIL
from lb.acme.fetching import Reply
from lb.acme.jose import base64url
from lb.core.renewal_view import Kind
from lb.settings.acme_settings import ExternalAccount
from tests.acme.authority import URN, endless, problem, silent
from tests.acme.world import HOUR, MINUTE, NAME, RARE_LOOKS, World
from tests.kit.time import virtual_time

pytestmark = virtual_time

Before = Callable[[str, Any], httpx.Response | None]


def at(path: str, answer: httpx.Response | Callable[[], httpx.Response]) -> Before:
    """Answers requests for paths that begin so."""
    return lambda asked, payload: (
        (answer() if callable(answer) else answer) if asked.startswith(path) else None
    )


async def why_not(world: World, seconds: float = 30) -> str:
    """The sentence of the first failure."""
    async with world.running():
        await trio.sleep(seconds)
    assert world.installed == []
    return world.failures()[0]


async def works(world: World, seconds: float = 30) -> None:
    async with world.running():
        await trio.sleep(seconds)
    assert world.failures() == []
    assert len(world.installed) == 1


# -- nonces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 4])
async def test_a_nonce_that_is_not_taken_is_followed_by_the_next(world: World, count: int) -> None:
    world.ca.bad_nonces = count
    await works(world)
    assert world.ca.asked.count("HEAD /nonce") == 1  # each answer brings another


async def test_an_authority_that_takes_no_nonce_is_given_up(world: World) -> None:
    world.ca.bad_nonces = 1000
    assert await why_not(world) == "the authority took none of our nonces (ca.test says: so it is)"
    assert world.ca.asked.count("POST /new-account") == 5


async def test_an_authority_without_nonces(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world.ca, "_nonce", lambda: "")
    assert await why_not(world) == "ca.test gives out no nonce"


# -- our account -------------------------------------------------------------------------------------------


async def test_the_account_is_made_once(world: World) -> None:
    world.waits = RARE_LOOKS
    world.names.append("api.example.com")
    async with world.running():
        await trio.sleep(10)
    async with world.running():
        await trio.sleep(70 * 86400)
    assert world.ca.asked.count("POST /new-account") == 1
    assert len(world.ca.issued) >= 4


async def test_the_key_of_an_account_is_kept_before_it_is_told(world: World) -> None:
    """An answer that is lost costs no account: the next attempt has the same key."""
    world.ca.before = at("/new-account", lambda: httpx.Response(500))
    await why_not(world)
    account = world.storage.account(world.ca.directory)
    assert account is not None
    assert account.url == ""
    world.ca.before = lambda path, payload: None
    async with world.running():
        await trio.sleep(HOUR)
    assert len(world.ca.accounts) == 1
    kept = world.storage.account(world.ca.directory)
    assert kept is not None
    assert (kept.key, kept.url) == (account.key, "https://ca.test/account/1")


async def test_an_account_that_the_authority_has_forgotten_is_made_anew_with_the_same_key(
    world: World,
) -> None:
    await works(world)
    [key] = world.ca.accounts.values()
    world.ca.accounts.clear()
    world.names[:] = ["api.example.com"]
    async with world.running():
        await trio.sleep(10)
    assert world.failures() == []
    assert [*world.ca.accounts.values()] == [key]


async def test_other_contacts_are_told(world: World) -> None:
    await works(world)
    world.settings["contact"] = ("new@example.com",)
    world.names[:] = ["api.example.com", "shop.example.com"]
    async with world.running():
        await trio.sleep(10)
    assert world.ca.contacts == {"https://ca.test/account/1": ["mailto:new@example.com"]}
    assert world.ca.asked.count("POST /account/1") == 1


async def test_terms_that_are_not_agreed_to_are_named(world: World) -> None:
    world.settings["terms_agreed"] = False
    assert await why_not(world) == (
        "ca.test gives certificates only to those who agree to its terms, https://ca.test/terms: read them "
        "and set tls.acme.terms_agreed = true"
    )
    assert "POST /new-account" not in world.ca.asked


async def test_an_authority_without_terms_needs_no_agreement(world: World) -> None:
    world.settings["terms_agreed"] = False
    world.ca.terms = ""
    await works(world)


def with_external(world: World, tmp_path: Path, content: bytes, key_id: str = "kid-1") -> Path:
    path = tmp_path / "eab"
    path.write_bytes(content)
    path.chmod(0o600)
    world.ca.external = {"kid-1": b"a secret"}
    world.settings["eab"] = (ExternalAccount(key_id=key_id, key_file=str(path)),)
    return path


async def test_an_account_is_bound_to_one_at_the_authority(world: World, tmp_path: Path) -> None:
    with_external(world, tmp_path, base64url(b"a secret").encode() + b"\n")
    await works(world)


async def test_a_binding_with_another_key_is_refused(world: World, tmp_path: Path) -> None:
    with_external(world, tmp_path, base64url(b"no secret").encode())
    assert "ca.test says: the binding is wrong" in await why_not(world)


async def test_that_the_authority_wants_one_is_told(world: World) -> None:
    world.ca.external = {"kid-1": b"a secret"}
    assert await why_not(world) == (
        "ca.test wants an account that you have with it: set tls.acme.eab to the key id and key that it gave "
        "you"
    )


async def test_a_key_file_that_is_none_is_named(world: World, tmp_path: Path) -> None:
    path = with_external(world, tmp_path, b"not base64url!")
    assert await why_not(world) == f"tls.acme.eab.key_file: {path} does not hold a key in base64url"


async def test_a_key_file_that_others_can_read_is_named(world: World, tmp_path: Path) -> None:
    path = with_external(world, tmp_path, base64url(b"a secret").encode())
    path.chmod(0o644)
    why = await why_not(world)
    assert why == f"tls.acme.eab.key_file: {path} can be read or changed by others: chmod 600 {path}"


# -- orders ------------------------------------------------------------------------------------------------


async def test_a_proof_that_was_given_not_long_ago_is_not_asked_for_again(world: World) -> None:
    world.ca.authorization_is_valid = True
    await works(world)
    assert world.ca.proofs_seen == []


@pytest.mark.parametrize(("told", "took"), [(None, 1 + 2 + 4), ("5", 15), ("0", 3), ("3600", 90)])
async def test_a_decision_is_asked_for_in_the_pauses_of_the_authority_within_bounds(
    world: World, told: str | None, took: float
) -> None:
    world.ca.pending_polls = 3
    world.ca.poll_retry_after = told
    async with world.running():
        await trio.sleep(3 * MINUTE)
    assert world.times(Kind.RENEWED) == pytest.approx([took])


async def test_a_decision_that_does_not_come_is_not_waited_for_longer_than_said(world: World) -> None:
    world.ca.pending_polls = 1000
    async with world.running():
        await trio.sleep(4 * MINUTE)
    assert world.times(Kind.FAILED) == pytest.approx([180.0])
    assert world.failures() == [f"ca.test has not decided on {NAME} within 180 s"]


async def test_a_certificate_that_does_not_come_neither(world: World) -> None:
    world.ca.before = at(
        "/order/", lambda: httpx.Response(200, json={"status": "processing", "finalize": "https://ca.test/f"})
    )
    async with world.running():
        await trio.sleep(6 * MINUTE)
    assert world.times(Kind.FAILED) == pytest.approx([300.0])
    assert world.failures() == [f"ca.test has proof of {NAME}, but did not issue within 300 s"]


async def test_two_questions_without_an_answer_are_no_failure(world: World) -> None:
    silences = iter([True, True])

    def before(path: str, payload: Any) -> httpx.Response | None:
        is_question = path.startswith("/authorization/") and "POST /challenge" in " ".join(world.ca.asked)
        if is_question and next(silences, False):
            raise httpx.ReadError("reset")
        return None

    world.ca.before = before
    await works(world)


async def test_a_challenge_that_is_not_offered(world: World) -> None:
    world.ca.challenges = ("dns-01", "dns-account-01")
    assert await why_not(world) == (
        f"ca.test offers no http-01 for {NAME}, but dns-01, dns-account-01: set tls.acme.challenge"
    )


async def test_other_chains_are_not_asked_for(world: World) -> None:
    await works(world)
    assert not any("other-chain" in asked for asked in world.ca.asked)


@pytest.mark.parametrize(
    ("token", "shown"),
    [("../../etc/passwd", "'../../etc/passwd'"), ("short", "'short'"), ("a" * 300, "aaa'")],
)
async def test_a_token_that_is_none_becomes_no_path(world: World, token: str, shown: str) -> None:
    challenges = [{"type": "http-01", "url": "https://ca.test/challenge/1", "token": token}]
    world.ca.before = at(
        "/authorization/",
        lambda: httpx.Response(200, json={"status": "pending", "challenges": challenges}),
    )
    why = await why_not(world)
    assert why.startswith("ca.test sends a token that is none: ")
    assert shown in why


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"no certificate", "ca.test has sent no certificate of our key for www.example.com"),
        (b"", "ca.test has sent no certificate of our key for www.example.com"),
    ],
)
async def test_a_certificate_that_is_none(world: World, answer: bytes, complaint: str) -> None:
    world.ca.before = at("/certificate/", lambda: httpx.Response(200, content=answer))
    assert (await why_not(world)).startswith(complaint)


async def test_a_certificate_of_another_key(world: World) -> None:
    await works(world)
    other = world.installed.pop()[2]
    world.names[:] = ["api.example.com"]
    world.ca.before = at("/certificate/", lambda: httpx.Response(200, content=other))
    assert "its key is not that of its first certificate" in await why_not(world)


# -- refusals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("dns", "give it an A or AAAA record"),
        ("tls", "without another TLS before it"),
        ("incorrectResponse", "something else answered for www.example.com"),
        ("unauthorized", "the authority did not find our proof at www.example.com"),
        ("connection", "port 80 must be open"),
        ("caa", "the CAA records of www.example.com forbid this authority"),
    ],
)
async def test_a_proof_that_is_not_believed_says_what_to_do(world: World, kind: str, words: str) -> None:
    world.ca.wrong = lambda name: {"type": URN + kind, "detail": "because", "status": 403}
    why = await why_not(world)
    assert words in why
    assert why.endswith("(ca.test says: because)")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("rejectedIdentifier", "take it out of tls.acme.names"),
        ("rateLimited", 'tls.acme.directory = "staging" has wider limits'),
        ("userActionRequired", "agree to new terms"),
        ("serverInternal", "trouble of its own"),
        ("neverHeardOf", "the authority has refused"),
        ("malformed", "the authority has refused"),
    ],
)
async def test_an_order_that_is_refused_says_what_to_do(world: World, kind: str, words: str) -> None:
    world.ca.before = at("/new-order", lambda: problem(kind, "because"))
    why = await why_not(world)
    assert words in why
    assert why.endswith("(ca.test says: because)")


async def test_subproblems_are_told_with_their_names(world: World) -> None:
    parts = [
        {"type": f"{URN}caa", "detail": "no", "identifier": {"type": "dns", "value": NAME}},
        {"type": f"{URN}dns", "detail": "SERVFAIL"},
        "nonsense",
    ]
    world.ca.before = at("/new-order", lambda: problem("compound", "two things", subproblems=parts))
    assert await why_not(world) == (
        f"the CAA records of {NAME} forbid this authority; allow it there, or take another "
        f"tls.acme.directory (ca.test says: two things; {NAME}: no; SERVFAIL)"
    )


async def test_what_an_authority_says_is_cut_and_freed_of_control_characters(world: World) -> None:
    world.ca.before = at("/new-order", lambda: problem("caa", "\x1b[2J\r\nred" + "x" * 10_000))
    why = await why_not(world)
    assert why.isprintable()
    assert "?[2J red" in why
    assert len(why) < LONGEST_DETAIL + 200


@pytest.mark.parametrize("told", ["120", "Fri, 15 Jan 2027 08:02:00 GMT"])
async def test_a_full_authority_is_asked_again_when_it_says(world: World, told: str) -> None:
    """START is 08:00:00 of that day."""
    world.ca.before = at("/new-order", lambda: problem("rateLimited", status=429, retry_after=told))
    async with world.running():
        await trio.sleep(119)
        assert world.ca.asked.count("POST /new-order") == 1
        await trio.sleep(2)
        assert world.ca.asked.count("POST /new-order") == 2


# -- answers that are none ---------------------------------------------------------------------------------


def garbage(content: bytes, status: int = 200) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, content=content)


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\xff\xfe", b"<html>", b"[]", b'"text"', b"null", b"{}", b'{"newNonce": 3}'),
        *(b"[" * 100_000, b'{"a":' * 20_000),
    ],
    ids=lambda content: repr(content[:12]) if isinstance(content, bytes) else None,
)
@pytest.mark.parametrize("path", ["/directory", "/new-order", "/authorization/", "/order/", "/finalize/"])
async def test_garbage_in_any_place_is_a_sentence(world: World, path: str, content: bytes) -> None:
    world.ca.before = at(path, garbage(content))
    async with world.running():
        await trio.sleep(6 * MINUTE)
    if world.installed:  # what finalize answers is not looked at
        assert path == "/finalize/"
        return
    why = world.failures()[0]
    assert why.startswith("ca.test ")
    assert "bug" not in why


@pytest.mark.parametrize("path", ["/directory", "/new-account", "/new-order", "/certificate/"])
async def test_an_answer_without_an_end_is_cut(world: World, path: str) -> None:
    world.ca.before = at(path, lambda: httpx.Response(200, content=endless()))
    assert await why_not(world) == "ca.test answers with more than 262144 bytes"


@pytest.mark.parametrize("path", ["/directory", "/new-account", "/new-order", "/certificate/"])
async def test_an_answer_that_stops_is_waited_for_as_long_as_said(world: World, path: str) -> None:
    world.ca.before = at(path, lambda: httpx.Response(200, content=silent()))
    async with world.running():
        await trio.sleep(31)
    assert world.times(Kind.FAILED) == pytest.approx([30.0])
    assert world.failures() == ["ca.test did not answer within 30 s"]


@pytest.mark.parametrize("status", [301, 404, 500, 502, 503])
async def test_a_status_without_a_reason(world: World, status: int) -> None:
    world.ca.before = at("/new-order", garbage(b"<h1>sorry</h1>", status))
    assert str(status) in await why_not(world)


async def test_a_busy_authority_says_for_how_long(world: World) -> None:
    busy = {"Retry-After": "7200"}
    world.ca.before = at("/new-order", lambda: httpx.Response(503, content=b"busy", headers=busy))
    async with world.running():
        await trio.sleep(2 * HOUR - 1)
        assert world.ca.asked.count("POST /new-order") == 1
        await trio.sleep(2)
        assert world.ca.asked.count("POST /new-order") == 2


@pytest.mark.parametrize("key", ["newNonce", "newAccount", "newOrder", "renewalInfo"])
async def test_a_directory_that_leads_to_plain_http_is_not_followed(world: World, key: str) -> None:
    table = {name: f"https://ca.test/{name}" for name in ("newNonce", "newAccount", "newOrder")}
    table[key] = "http://169.254.169.254/latest"
    world.ca.before = at("/directory", lambda: httpx.Response(200, content=json.dumps(table).encode()))
    assert await why_not(world) == "ca.test names 'http://169.254.169.254/latest', which is no https URL"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None),
        ("5", 5.0),
        (" 5 ", 5.0),
        ("-5", None),
        ("9" * 400, 999_999_999.0),
        ("tomorrow", None),
        ("Fri, 15 Jan 2027 08:00:10 GMT", 10.0),
        ("Fri, 15 Jan 2026 08:00:10 GMT", 0.0),
        ("Fri, 99 Jan 2027 08:00:10 GMT", None),
    ],
)
async def test_the_notations_of_retry_after(text: str, seconds: float | None) -> None:
    reply = Reply("ca.test", 200, httpx.Headers({"Retry-After": text}), b"")
    assert reply.hold(1_800_000_000.0) == seconds
