"""/certificates: what is shown of them, and reading their files again."""

from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs

from admin.event_publisher import EventPublisher
from lb.certificate_files.termination import Termination
from lb.control import Control
from lb.errors import ConfigError
from tests.admin.kit import EPOCH, Answer, Api, is_problem
from tests.kit.certificates import DAY, certificate, rsa_key
from tests.kit.terminations import BELOW, config

RELOAD = "/certificates/reload"


@pytest.fixture
async def tls(control: Control, tmp_path: Path) -> Termination:
    """Three certificates at the day that the control's clock shows: valid, expiring and critical."""
    made = config(
        tmp_path,
        certificate("www.test", "test", by=BELOW, valid=(EPOCH - 10 * DAY, EPOCH + 90 * DAY)),
        certificate("*.api.test", by=BELOW, valid=(EPOCH - 80 * DAY, EPOCH + 20 * DAY)),
        certificate("www.test", by=BELOW, key=rsa_key(2048), valid=(EPOCH - 99 * DAY, EPOCH + DAY)),
        routes=["www.test", "v1.api.test", "*.api.test", "nobody.test"],
    )
    control.config = made
    control.tls_listening = ["127.0.0.1:443"]
    control.tls = termination = Termination(made)
    return termination


def renew(folder: Path, name: str = "0", *names: str) -> None:
    certificate(*(names or ("www.test",)), by=BELOW, valid=(EPOCH, EPOCH + 100 * DAY)).write(folder, name)


async def listed(api: Api, query: str = "") -> Answer:
    answer = await api("GET", f"/certificates{query}")
    assert answer.status == 200
    return answer


async def test_those_that_end_first_come_first(api: Api, tls: Termination) -> None:
    found = (await listed(api)).json
    assert [(each["id"], each["stage"], each["days_left"]) for each in found["items"]] == [
        ("www.test~rsa", "critical", 1.0),
        ("*.api.test", "expiring", 20.0),
        ("www.test", "valid", 90.0),
    ]
    assert found["listeners"] == ["127.0.0.1:443"]
    assert (found["uncovered"], found["uncovered_count"]) == (["nobody.test"], 1)
    assert (found["total"], found["error"]) == (3, None)
    assert [each["id"] for each in (await listed(api, "?limit=1")).json["items"]] == ["www.test~rsa"]


async def test_one_has_all_that_is_known_of_it(api: Api, tls: Termination, tmp_path: Path) -> None:
    found = (await api("GET", "/certificates/www.test")).json
    assert len(found.pop("fingerprint")) == 64
    assert int(found.pop("serial"), 16)
    assert found == {
        "id": "www.test",
        "names": ["www.test", "test"],
        "subject": "CN=www.test",
        "issuer": "CN=Test Intermediate",
        "key_type": "EC",
        "key_bits": 256,
        "not_before": "2027-01-05T08:00:00.000Z",
        "not_after": "2027-04-15T08:00:00.000Z",
        "stage": "valid",
        "days_left": 90.0,
        "lifetime_left": 0.9,
        "chain": ["CN=Test Intermediate"],
        "chain_file": str(tmp_path / "0.pem"),
        "key_file": str(tmp_path / "0.key"),
        "source": "file",
        "renewal": None,
        "listeners": ["127.0.0.1:443"],
        "routes": ["www.test/"],
        "routes_count": 1,
        "warnings": [],
        "error": None,
    }
    wild = (await api("GET", "/certificates/*.api.test")).json
    assert wild["routes"] == ["v1.api.test/", "*.api.test/"]
    [warning] = wild["warnings"]
    assert "20.0 days and 20% of its lifetime are left" in warning
    assert is_problem(await api("GET", "/certificates/nobody.test"))


async def test_the_table_is_for_people(api: Api, tls: Termination) -> None:
    _, first, second, _ = (await listed(api, "?format=table")).body.decode().splitlines()
    assert first.split()[:5] == ["www.test~rsa", "critical", "1.0", "1%", "2027-01-16"]
    assert "20.0 days and 20% of its lifetime" in second


async def test_of_many_routes_a_list_names_a_few_and_one_has_all(
    api: Api, control: Control, tmp_path: Path
) -> None:
    hosts = [f"a{number}.api.test" for number in range(30)]
    control.config = made = config(tmp_path, certificate("*.api.test", by=BELOW), routes=hosts)
    control.tls = Termination(made)
    [item] = (await listed(api)).json["items"]
    assert (len(item["routes"]), item["routes_count"]) == (20, 30)
    assert len((await api("GET", "/certificates/*.api.test")).json["routes"]) == 30


# -- reading the files again ------------------------------------------------------------------------------


async def test_a_reload_serves_what_the_files_hold_and_is_in_the_audit(
    api: Api, control: Control, tls: Termination, tmp_path: Path
) -> None:
    EventPublisher(control)
    renew(tmp_path, "0", "www.test", "more.test")
    answer = await api("POST", RELOAD)
    assert answer.status == 200
    found = answer.json
    assert (found["applied"], found["summary"]) == (True, "1 changed; gains more.test; loses test")
    [change] = found["changes"]
    assert (change["before"]["days_left"], change["after"]["days_left"]) == (90.0, 100.0)
    assert (change["chain_file"], change["routes"]) == (str(tmp_path / "0.pem"), ["www.test/"])
    assert (found["names_gained"], found["names_lost"]) == (["more.test"], ["test"])
    assert tls.certificates.table.named("more.test")
    [entry] = control.audit.newest()
    before, after = entry.changes[f"certificates.{tmp_path}/0.pem"]
    assert (entry.operation, entry.status) == ("POST /certificates/reload", 200)
    assert before.startswith("www.test, test (serial ")
    assert after.startswith("www.test, more.test (serial ")
    [event] = control.feed.newest(frozenset({"certificate"}), 5)
    assert b'"kind":"swapped"' in event.body


async def test_a_dry_run_says_the_same_and_changes_nothing(
    api: Api, control: Control, tls: Termination, tmp_path: Path
) -> None:
    renew(tmp_path, "0", "other.test")
    answer = await api("POST", f"{RELOAD}?dry_run=true")
    found = answer.json
    assert answer.headers["lb-dry-run"] == "true"
    assert (found["applied"], found["names_lost"]) == (False, ["test"])
    assert found["names_gained"] == ["other.test"]
    assert found["uncovered"] == ["nobody.test"]
    assert tls.certificates.table.named("test")
    assert tls.results == {"success": 0, "failure": 0}
    assert control.audit.newest() == []


async def test_a_dry_run_tells_which_routes_would_lose_their_certificate(
    api: Api, tls: Termination, tmp_path: Path
) -> None:
    renew(tmp_path, "1", "other.test")
    found = (await api("POST", RELOAD, form="dry_run=true")).json
    assert found["uncovered"] == ["v1.api.test", "*.api.test", "nobody.test"]
    assert tls.certificates.table.named("v1.api.test")


@pytest.mark.parametrize("query", ["", "?dry_run=true"])
async def test_bad_files_are_a_problem_with_each_mistake_and_change_nothing(
    api: Api, control: Control, tls: Termination, tmp_path: Path, query: str
) -> None:
    renew(tmp_path)
    (tmp_path / "1.key").write_text("no key")
    (tmp_path / "2.pem").unlink()
    with capture_logs():
        answer = await api("POST", f"{RELOAD}{query}")
    assert is_problem(answer)
    assert answer.status == 422
    first, second = answer.json["errors"]
    assert first["pointer"] == "#/tls/certificates/1/key"
    assert "1.key: expected a private key" in first["detail"]
    assert second["pointer"] == "#/tls/certificates/2/chain"
    assert tls.certificates.table.named("test")
    assert [entry.status for entry in control.audit.newest()] == ([422] if not query else [])


async def test_what_is_wrong_with_the_files_stands_at_the_certificates(
    api: Api, tls: Termination, tmp_path: Path
) -> None:
    (tmp_path / "1.key").write_text("no key")
    with capture_logs():
        await api("POST", RELOAD)
    found = (await listed(api)).json
    assert "1.key: expected a private key" in found["error"]
    errors = {each["id"]: each["error"] for each in found["items"]}
    assert errors.pop("*.api.test").startswith("tls.certificates[1].key: ")
    assert set(errors.values()) == {None}
    renew(tmp_path, "1", "*.api.test")
    await api("POST", RELOAD)
    assert (await listed(api)).json["error"] is None


async def test_certificates_that_do_not_hold_still_are_a_conflict(
    api: Api, tls: Termination, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def plan(*_arguments: object, **_more: object) -> None:
        await trio.lowlevel.checkpoint()
        raise ConfigError("the certificates change faster than their files can be read")

    monkeypatch.setattr(tls, "reload", plan)
    answer = await api("POST", RELOAD)
    assert (is_problem(answer), answer.status) == (True, 409)


# -- without TLS, and for whom ----------------------------------------------------------------------------


async def test_without_tls_there_is_nothing_to_see_or_to_read(api: Api) -> None:
    found = (await listed(api)).json
    assert (found["items"], found["listeners"], found["total"]) == ([], [], 0)
    assert is_problem(await api("GET", "/certificates/www.test"))
    answer = await api("POST", RELOAD)
    assert (is_problem(answer), answer.status) == (True, 409)
    assert "https://" in answer.json["detail"]
