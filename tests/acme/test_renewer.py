"""The task: orders, renewals, failures, several authorities and several balancers, on virtual time."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from cryptography import x509

from lb.acme.fetching import Waits
from lb.acme.renewer import CUT_SHORT, Renewer
from lb.acme.storage import Origin, Pair, Storage
from lb.config.whole_file import replace
from lb.core.renewal_view import Kind
from lb.settings.acme_settings import directory_url
from tests.acme.authority import URN, problem
from tests.acme.world import DAY, HOUR, MINUTE, NAME, RARE_LOOKS, START, World
from tests.kit.time import virtual_time

pytestmark = virtual_time


def unreachable_name(name: str) -> dict[str, Any]:
    return {"type": f"{URN}connection", "detail": "timeout during connect"}


# -- the first certificate ---------------------------------------------------------------------------------


async def test_a_name_gets_a_certificate_at_once(world: World) -> None:
    async with world.running() as renewer:
        await trio.sleep(10)
        [(at, names, chain, key)] = world.installed
        assert (at, names) == (0.0, (NAME,))
        leaf = x509.load_pem_x509_certificate(chain)
        assert b"BEGIN PRIVATE KEY" in key
        [standing] = renewer.standings()
        assert standing.directory == world.ca.directory
        assert standing.validity is not None
        assert standing.validity.ends == leaf.not_valid_after_utc.timestamp()
        assert standing.failures_in_a_row == 0
    assert world.ca.contacts == {"https://ca.test/account/1": ["mailto:ops@example.com"]}
    assert world.ca.proofs_seen == ["http-01"]
    assert [event.kind for _, event in world.told] == [Kind.REHEARSED, Kind.RENEWED]
    assert os.listdir(world.folder / "challenges") == []


async def test_so_it_does_by_tls_alpn_01_which_is_not_rehearsed(world: World) -> None:
    world.settings["challenge"] = "tls-alpn-01"
    async with world.running():
        await trio.sleep(10)
    assert world.ca.proofs_seen == ["tls-alpn-01"]
    assert [event.kind for _, event in world.told] == [Kind.RENEWED]
    assert os.listdir(world.folder / "challenges") == []


async def test_each_name_has_a_certificate_of_its_own_and_one_is_ordered_at_a_time(world: World) -> None:
    world.names += ["shop.example.com", "api.example.com"]
    world.ca.pending_polls = 3
    async with world.running():
        await trio.sleep(HOUR)
    assert [names for _, names, _, _ in world.installed] == [(name,) for name in world.names]
    orders = [
        request for request in world.ca.asked if request == "POST /new-order" or "/certificate/" in request
    ]
    assert [order.split("/")[1] for order in orders] == ["new-order", "certificate"] * 3


async def test_a_name_that_comes_later_is_noticed_and_one_that_goes_is_let_be(world: World) -> None:
    async with world.running() as renewer:
        await trio.sleep(1)
        world.names[:] = ["shop.example.com"]
        await trio.sleep(1)
        assert len(world.installed) == 1
        renewer.look_again()
        await trio.sleep(1)
        assert [names for _, names, _, _ in world.installed] == [(NAME,), ("shop.example.com",)]
        assert [standing.name for standing in renewer.standings()] == ["shop.example.com"]
        with pytest.raises(LookupError):
            renewer.renew(NAME)


async def test_after_a_restart_the_certificate_is_there_and_nothing_is_ordered(world: World) -> None:
    async with world.running():
        await trio.sleep(1)
    async with world.running():
        await trio.sleep(DAY)
    assert len(world.ca.issued) == 1
    assert [installed[1:] for installed in world.installed] == [world.installed[0][1:]] * 2


async def test_the_rehearsal_says_what_answered_and_explains_the_refusal(world: World) -> None:
    world.trial = lambda name, token, body: "it was nginx"
    world.ca.wrong = unreachable_name
    async with world.running():
        await trio.sleep(1)
    [(_, rehearsed)] = world.events(Kind.REHEARSED)
    assert rehearsed.text == "it was nginx"
    [why] = world.failures()
    assert why == (
        f"the authority could not connect to {NAME}; its A and AAAA records must lead to this balancer, and "
        "port 80 must be open (ca.test says: timeout during connect). From here, it was nginx"
    )


async def test_a_rehearsal_that_fails_keeps_nobody_from_a_certificate(world: World) -> None:
    world.trial = lambda name, token, body: "this machine does not see its own address"
    async with world.running():
        await trio.sleep(1)
    assert len(world.installed) == 1


# -- renewals ----------------------------------------------------------------------------------------------


async def test_without_a_window_it_is_renewed_when_a_third_is_left(world: World) -> None:
    world.waits = RARE_LOOKS
    world.ca.has_ari = False
    async with world.running():
        await trio.sleep(365 * DAY)
    assert [round(at / DAY, 2) for at in world.times(Kind.RENEWED)] == [0, 60, 120, 180, 240, 300, 360]
    assert all("replaces" not in order for _, order in world.ca.ordered)


async def test_it_is_renewed_in_the_window_of_the_authority_and_says_what_it_replaces(world: World) -> None:
    world.waits = RARE_LOOKS
    world.ca.window = lambda begins, ends: (begins + 20 * DAY, begins + 22 * DAY)
    async with world.running():
        await trio.sleep(23 * DAY)
    first, second = world.times(Kind.RENEWED)
    assert 20 * DAY <= second - first <= 22 * DAY
    [_, (_, order)] = world.ca.ordered
    assert order["replaces"] == next(iter(world.ca.chains))
    gaps = {round(after - before) for before, after in pairwise(world.ca.looks)}
    assert gaps == {6 * HOUR} or gaps - {6 * HOUR} == {round(second - first) % (6 * HOUR)}


async def test_a_window_that_moves_to_the_past_has_it_renewed_at_the_next_look(world: World) -> None:
    world.waits = RARE_LOOKS
    async with world.running():
        await trio.sleep(10 * DAY)
        assert len(world.ca.issued) == 1
        world.ca.window = lambda begins, ends: (begins - 2 * DAY, begins - DAY)
        await trio.sleep(6 * HOUR)
        assert len(world.ca.issued) == 2
        await trio.sleep(10 * DAY)  # of the new ones the authority says the same
        assert len(world.ca.issued) == 12


async def test_the_moment_in_the_window_outlives_a_restart(world: World) -> None:
    async with world.running() as renewer:
        await trio.sleep(DAY)
        [before] = renewer.standings()
    async with world.running(world.renewer(seed=2)) as renewer:
        await trio.sleep(DAY)
        [after] = renewer.standings()
    assert before.suggestion is not None
    assert before.suggestion == after.suggestion
    assert before.due == after.due


async def test_an_authority_that_answers_windows_with_nonsense_is_not_believed(world: World) -> None:
    async with world.running() as renewer:
        nonsense: list[Any] = [{"start": "soon", "end": "later"}, {"start": "2027-01-01T00:00:00Z"}, None, []]
        for window in nonsense:
            world.ca.before = lambda path, payload, window=window: (  # type: ignore[misc]
                httpx.Response(200, json={"suggestedWindow": window}) if path.startswith("/ari/") else None
            )
            await trio.sleep(7 * HOUR)
            [standing] = renewer.standings()
            assert standing.suggestion is None
            assert standing.failures_in_a_row == 0
            assert standing.validity is not None
            assert standing.due == standing.validity.ends - 30 * DAY


async def test_that_a_certificate_was_replaced_already_is_no_failure(world: World) -> None:
    world.waits = RARE_LOOKS
    world.ca.before = lambda path, payload: (
        problem("alreadyReplaced", status=409) if payload and "replaces" in payload else None
    )
    async with world.running():
        await trio.sleep(80 * DAY)
    assert len(world.times(Kind.RENEWED)) == 2
    assert world.failures() == []


async def test_a_clock_past_the_end_of_the_certificate(world: World) -> None:
    async with world.running():
        await trio.sleep(1)
        looks = len(world.ca.looks)
        world.offset = 200 * DAY  # as after a machine has slept
        await trio.sleep(2 * MINUTE)
    assert len(world.ca.issued) == 2
    assert len(world.ca.looks) == looks + 1  # for the new one: nobody asks for one that has ended


async def test_a_certificate_of_trying_out_gives_way_at_once(world: World) -> None:
    staging = world.authority("acme-staging-v02.api.letsencrypt.org")
    world.authorities.append(staging)
    world.settings["directory"] = ("staging",)
    async with world.running():
        await trio.sleep(1)
    assert staging.directory == directory_url("staging")
    assert len(staging.issued) == 1
    world.settings["directory"] = (world.ca.directory,)
    async with world.running():
        await trio.sleep(HOUR)
    assert len(world.ca.issued) == 1
    world.settings["directory"] = ("staging",)
    async with world.running():
        await trio.sleep(HOUR)
    assert len(staging.issued) == 1  # two balancers that disagree do not take turns


# -- failures ----------------------------------------------------------------------------------------------


async def test_failures_come_after_growing_pauses_and_are_told_with_the_next_attempt(world: World) -> None:
    world.waits = RARE_LOOKS
    world.ca.wrong = unreachable_name
    async with world.running():
        await trio.sleep(4 * DAY)
    times = world.times(Kind.FAILED)
    pauses = [after - before for before, after in pairwise(times)]
    assert pauses[:3] == pytest.approx([MINUTE, 10 * MINUTE, HOUR])
    assert all(0.9 * DAY <= pause <= 1.1 * DAY for pause in pauses[3:])
    told = [event.next_attempt for _, event in world.events(Kind.FAILED)]
    assert told[:-1] == pytest.approx([START + at for at in times[1:]])
    assert len(world.ca.ordered) == len(times) >= 7


async def test_a_restart_forgets_no_failure(world: World) -> None:
    world.ca.wrong = unreachable_name
    for _ in range(60):
        async with world.running():
            await trio.sleep(30)
    assert [round(at) for at in world.times(Kind.FAILED)] == [0, 60, 660]


async def test_a_program_that_dies_in_each_attempt_makes_no_more_of_them(world: World) -> None:
    world.ca.pending_polls = 1000
    for _ in range(40):
        async with world.running() as renewer:
            await trio.sleep(10)
        [standing] = renewer.standings()
    assert len(world.ca.ordered) == 2
    async with world.running() as renewer:
        await trio.sleep(1)
        [standing] = renewer.standings()
        assert standing.why == CUT_SHORT
        assert not standing.is_running


async def test_an_operator_may_have_it_at_once_five_times_an_hour(world: World) -> None:
    world.ca.wrong = unreachable_name
    async with world.running() as renewer:
        for _ in range(10):
            await trio.sleep(1)
            at = renewer.renew(NAME)
        await trio.sleep(30 * MINUTE)
        assert len(world.ca.ordered) == 5
        assert at == START + HOUR
        world.ca.wrong = lambda name: None
        await trio.sleep(30 * MINUTE)
        assert len(world.ca.issued) == 1
        renewer.renew(NAME)
        await trio.sleep(1)
        assert len(world.ca.issued) == 2


async def test_a_name_that_fails_is_in_no_others_way(world: World) -> None:
    world.names += ["broken.example.com", "api.example.com"]
    world.ca.wrong = lambda name: unreachable_name(name) if "broken" in name else None
    async with world.running():
        await trio.sleep(10)
    assert [names[0] for _, names, _, _ in world.installed] == [NAME, "api.example.com"]


async def test_the_authority_is_away_for_a_day(world: World) -> None:
    """At the worst moment: when a certificate is due. It is renewed within two days, long before its end."""
    world.waits = RARE_LOOKS
    world.ca.has_ari = False
    async with world.running() as renewer:
        await trio.sleep(60 * DAY - 1)
        world.ca.is_away = True
        await trio.sleep(DAY)
        assert [round(at - 60 * DAY) for at in world.times(Kind.FAILED)][:4] == [0, 60, 660, 4260]
        assert world.failures()[0] == "ca.test cannot be reached: connection refused"
        assert len(world.failures()) <= 5
        world.ca.is_away = False
        await trio.sleep(1.1 * DAY)
        [standing] = renewer.standings()
        assert standing.failures_in_a_row == 0
    assert len(world.ca.issued) == 2


async def test_the_second_authority_in_line_is_asked_when_the_first_is_away(world: World) -> None:
    world.authorities.append(world.authority("other.test"))
    world.ca.is_away = True
    async with world.running() as renewer:
        await trio.sleep(1)
        [standing] = renewer.standings()
        assert standing.directory == "https://other.test/directory"
    assert world.failures() == []
    assert len(world.installed) == 1


async def test_a_name_that_leads_elsewhere_is_told_to_one_authority_only(world: World) -> None:
    other = world.authority("other.test")
    world.authorities.append(other)
    world.ca.wrong = other.wrong = unreachable_name
    async with world.running():
        await trio.sleep(30)
    assert other.asked == []
    assert len(world.failures()) == 1


async def test_when_all_refuse_each_is_named(world: World) -> None:
    other = world.authority("other.test", is_away=True)
    world.authorities.append(other)
    world.ca.before = lambda path, payload: problem("caa") if path == "/new-order" else None
    async with world.running():
        await trio.sleep(1)
    assert world.failures() == [
        f"the CAA records of {NAME} forbid this authority; allow it there, or take another "
        "tls.acme.directory (ca.test says: so it is). Then: other.test cannot be reached: connection refused"
    ]


async def test_an_authority_that_is_full_is_let_alone_for_as_long_as_it_says(world: World) -> None:
    world.waits = RARE_LOOKS
    other = world.authority("other.test", is_away=True)
    world.authorities.append(other)
    world.ca.before = lambda path, payload: (
        problem("rateLimited", status=429, retry_after=2 * int(DAY)) if path == "/new-order" else None
    )
    async with world.running():
        await trio.sleep(2 * DAY - 1)
        assert world.ca.asked.count("POST /new-order") == 1
        world.ca.before = lambda path, payload: None
        await trio.sleep(2 * DAY)
    assert len(world.ca.issued) == 1


async def test_a_bug_ends_neither_the_task_nor_the_pauses(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(*arguments: object) -> None:
        raise ZeroDivisionError("of the test")

    monkeypatch.setattr("lb.acme.ordering.signing_request", bug)
    async with world.running():
        await trio.sleep(30 * MINUTE)
        assert [round(at) for at in world.times(Kind.FAILED)] == [0, 60, 660]
        monkeypatch.undo()
        await trio.sleep(HOUR)
    assert len(world.installed) == 1


# -- the folder --------------------------------------------------------------------------------------------


async def test_two_balancers_on_one_folder_order_once_and_both_have_it(world: World) -> None:
    world.waits = RARE_LOOKS
    world.ca.pending_polls = 3
    world.ca.has_ari = False
    async with world.running(world.renewer(), world.renewer(seed=2)):
        await trio.sleep(2 * MINUTE)
        assert len(world.ca.issued) == 1
        assert len({chain for _, _, chain, _ in world.installed}) == 1
        assert len(world.installed) == 2
        await trio.sleep(60 * DAY)
    assert len(world.ca.issued) == 2
    assert len(world.installed) == 4


async def test_two_balancers_share_the_pauses_of_a_failure(world: World) -> None:
    world.ca.wrong = unreachable_name
    async with world.running(world.renewer(), world.renewer(seed=2)):
        await trio.sleep(30 * MINUTE)
    assert len(world.ca.ordered) == 3


async def test_a_lock_that_is_never_given_back_is_told(world: World) -> None:
    world.waits = Waits(lock=600.0)
    storage = Storage(world.folder)
    storage.prepare()
    assert storage.lock.take()
    async with world.running():
        await trio.sleep(11 * MINUTE)
        [why] = world.failures()
        assert why.startswith(f"{world.folder} has been locked by process {os.getpid()} on ")
        assert world.ca.asked == []
        storage.lock.give_back()
        await trio.sleep(MINUTE)
    assert len(world.installed) == 1


async def test_a_certificate_file_that_is_broken_is_named_and_left_alone(world: World) -> None:
    world.names.append("api.example.com")
    storage = Storage(world.folder)
    storage.prepare()
    path = storage.certificate_file(NAME)
    path.write_bytes(b"what is this")
    async with world.running() as renewer:
        await trio.sleep(DAY)
        assert world.failures() == [
            f"{path} is not what this program has written: it has no private key. Mend it from a copy, or "
            "move it away to begin anew"
        ]
        assert path.read_bytes() == b"what is this"
        assert [names[0] for _, names, _, _ in world.installed] == ["api.example.com"]
        assert renewer.renew(NAME) is None
        path.unlink()
        await trio.sleep(2 * MINUTE)
        assert [names[0] for _, names, _, _ in world.installed] == ["api.example.com", NAME]


@pytest.mark.parametrize("kind", ["failures", "certificates"])
async def test_so_are_its_other_files(world: World, kind: str) -> None:
    Storage(world.folder).prepare()
    path = world.folder / kind / f"{NAME}.json"
    path.write_text('{"format": "something else"}')
    async with world.running():
        await trio.sleep(HOUR)
        [why] = world.failures()
        assert why.startswith(f"{path} is not what this program has written")
        assert world.ca.asked == []
        assert path.read_text() == '{"format": "something else"}'
        path.unlink()
        await trio.sleep(2 * MINUTE)
    assert len(world.installed) == 1


async def test_an_account_that_is_broken_is_named_and_not_replaced(world: World) -> None:
    storage = Storage(world.folder)
    storage.prepare()
    path = storage.account_file(world.ca.directory)
    path.write_text("{")
    async with world.running():
        await trio.sleep(30)
    [why] = world.failures()
    assert why.startswith(f"{path} is not what this program has written")
    assert path.read_text() == "{"
    assert world.ca.accounts == {}


async def test_a_certificate_of_another_name_is_not_installed(world: World) -> None:
    world.names[:] = ["api.example.com"]
    async with world.running():
        await trio.sleep(1)
    storage = world.storage
    pair = storage.certificate("api.example.com")
    assert pair is not None
    storage.keep_certificate(NAME, pair, Origin())
    world.names[:] = [NAME]
    world.installed.clear()
    async with world.running():
        await trio.sleep(1)
    assert world.installed == []
    assert "is a certificate of api.example.com, not of www.example.com" in world.failures()[0]


async def test_a_certificate_that_an_operator_has_put_there_is_taken(world: World) -> None:
    async with world.running():
        await trio.sleep(1)
        pair = world.storage.certificate(NAME)
        assert pair is not None
        async with world.running(
            Renewer(world.acme(), lambda: [], world._install, world._hear, world.around)
        ):
            await trio.sleep(1)
        other = Pair(pair.chain + pair.chain, pair.key)
        world.storage.keep_certificate(NAME, other, Origin())
        await trio.sleep(2 * MINUTE)
        assert world.installed[-1][2] == other.chain


async def test_a_folder_that_others_can_read_is_refused_until_it_is_mended(world: World) -> None:
    world.folder.mkdir(mode=0o755)
    async with world.running():
        await trio.sleep(5 * MINUTE)
        assert world.failures() == [
            f"{world.folder} can be read or changed by others: chmod 700 {world.folder}"
        ]
        assert world.ca.asked == []
        world.folder.chmod(0o700)
        await trio.sleep(2 * MINUTE)
    assert len(world.installed) == 1


async def test_a_certificate_that_cannot_be_written_is_used_and_written_later(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: bytes) -> None:
        if path.suffix == ".pem":
            raise OSError(28, "No space left on device")
        replace(path, data)

    monkeypatch.setattr("lb.config.whole_file.replace", full)
    async with world.running():
        await trio.sleep(10)
        assert len(world.installed) == 1
        path = world.storage.certificate_file(NAME)
        assert world.failures() == [f"{path} cannot be written: No space left on device"]
        assert not path.exists()
        monkeypatch.undo()
        await trio.sleep(2 * MINUTE)
        assert world.storage.certificate(NAME) is not None
        await trio.sleep(DAY)
    assert len(world.ca.issued) == 1


async def test_what_a_killed_program_has_left_is_answered_by_nobody(world: World) -> None:
    storage = Storage(world.folder)
    storage.prepare()
    (world.folder / "challenges" / "http-left").write_text("{}")
    async with world.running():
        await trio.sleep(1)
    assert os.listdir(world.folder / "challenges") == []


async def test_cancelled_in_the_midst_of_an_order_no_answer_and_no_lock_is_left(world: World) -> None:
    world.ca.pending_polls = 1000
    async with world.running():
        await trio.sleep(3)
        assert len(os.listdir(world.folder / "challenges")) == 1
    assert os.listdir(world.folder / "challenges") == []
    assert world.storage.lock.take()
