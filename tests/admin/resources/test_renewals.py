"""Certificates that are ordered, as an operator sees them: metrics and events."""

from pathlib import Path

import msgspec
import pytest

from admin.event_publisher import EventPublisher
from lb.certificate_files.termination import Termination
from lb.control import Control
from lb.core.renewal_view import Kind, RenewalEvent
from tests.admin.kit import Api, is_problem
from tests.kit.certificates import DAY, Issued, certificate
from tests.kit.renewals import EPOCH, FakeRenewals, standing
from tests.kit.terminations import BELOW, config


async def test_orders_and_next_attempts_are_metrics(control: Control, api: Api) -> None:
    failing = standing("shop.example.com", next_attempt=None, failures_in_a_row=3)
    control.renewals = renewals = FakeRenewals(standing(), failing)
    renewals.results |= {"success": 2, "failure": 3}
    lines = (await api("GET", "/metrics")).body.decode().splitlines()
    assert [line for line in lines if line.startswith("lb_acme")] == [
        'lb_acme_orders_total{result="success"} 2.0',
        'lb_acme_orders_total{result="failure"} 3.0',
        f'lb_acme_next_attempt_timestamp_seconds{{name="www.example.com"}} {EPOCH + 15 * 86400}',
        'lb_acme_failures_in_a_row{name="www.example.com"} 0.0',
        'lb_acme_failures_in_a_row{name="shop.example.com"} 3.0',
    ]


async def test_what_happens_to_a_name_is_an_event(control: Control) -> None:
    control.renewals = renewals = FakeRenewals(standing())
    EventPublisher(control)
    renewals.tell(RenewalEvent(Kind.FAILED, "www.example.com", "it does not lead here", EPOCH))
    renewals.tell(RenewalEvent(Kind.FAILED, "", "the disk is full", None))
    second, first = control.feed.newest(frozenset({"renewal"}), 2)
    told = msgspec.json.decode(first.body)
    assert told.pop("at")
    assert told == {
        "kind": "renewal failed",
        "name": "www.example.com",
        "detail": "it does not lead here",
        "next_attempt": "2027-01-15T08:00:00.000Z",
    }
    assert msgspec.json.decode(second.body)["next_attempt"] is None


def lasting(name: str) -> Issued:
    return certificate(name, by=BELOW, valid=(EPOCH - DAY, EPOCH + 40 * DAY))


@pytest.fixture
async def renewals(control: Control, tmp_path: Path) -> FakeRenewals:
    """www.test and file.test are in files, www.test and a.test were ordered, and b.test is not there yet."""
    control.config = made = config(tmp_path, lasting("www.test"), lasting("file.test"))
    control.tls_listening = ["127.0.0.1:443"]
    control.tls = termination = Termination(made)
    for name in ("www.test", "a.test"):
        issued = lasting(name)
        termination.ordered.put(f"/acme/{name}.pem", (issued.chain + issued.key_pem).encode())
    await termination.reload()
    failing = standing("b.test", failures_in_a_row=2, why="it does not lead here")
    control.renewals = made_renewals = FakeRenewals(standing("www.test"), standing("a.test"), failing)
    return made_renewals


async def test_orders_stand_at_their_certificates(api: Api, renewals: FakeRenewals) -> None:
    found = (await api("GET", "/certificates")).json
    orders = {each["id"]: (each["source"], each["renewal"]) for each in found["items"]}
    assert orders["file.test"] == orders["www.test"] == ("file", None)
    assert orders["a.test"] == (
        "acme",
        {
            "name": "a.test",
            "directory": "https://ca.test/directory",
            "next_attempt": "2027-01-30T08:00:00.000Z",
            "failures_in_a_row": 0,
            "error": None,
            "is_running": False,
        },
    )
    assert orders["www.test~ec"][1]["name"] == "www.test"
    [waiting] = found["ordered"]
    assert (waiting["name"], waiting["error"]) == ("b.test", "it does not lead here")


@pytest.mark.parametrize(
    ("certificate_id", "name"),
    [("a.test", "a.test"), ("b.test", "b.test"), ("www.test~ec", "www.test"), ("www.test", "www.test")],
)
async def test_one_is_ordered_anew(
    api: Api, control: Control, renewals: FakeRenewals, certificate_id: str, name: str
) -> None:
    answer = await api("POST", f"/certificates/{certificate_id}/renew")
    assert (answer.status, answer.json["name"]) == (202, name)
    assert answer.json["next_attempt"] == "2027-01-15T08:00:00.000Z"
    assert renewals.renewed == [name]
    [act] = control.audit.newest()
    assert (act.operation, act.target, act.status) == ("POST /certificates/{id}/renew", certificate_id, 202)


@pytest.mark.parametrize(
    ("certificate_id", "status", "detail"),
    [
        ("file.test", 409, "/1.pem is renewed by who writes it; it is not ordered here"),
        ("nobody.test", 404, "there is no certificate 'nobody.test'"),
    ],
)
async def test_what_is_not_ordered_is_not_renewed(
    api: Api, renewals: FakeRenewals, certificate_id: str, status: int, detail: str
) -> None:
    answer = await api("POST", f"/certificates/{certificate_id}/renew")
    assert (answer.status, is_problem(answer), renewals.renewed) == (status, True, [])
    assert answer.json["detail"].endswith(detail)


async def test_an_order_whose_files_cannot_be_read_is_no_success(
    api: Api, renewals: FakeRenewals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewals, "renew", lambda _name: None)
    answer = await api("POST", "/certificates/b.test/renew")
    assert (answer.status, answer.json["detail"]) == (409, "b.test cannot be ordered: it does not lead here")


async def test_without_orders_and_without_tls_there_is_nothing_to_renew(api: Api) -> None:
    assert (await api("POST", "/certificates/a.test/renew")).status == 404


async def test_the_page_shows_an_order_that_fails(api: Api, renewals: FakeRenewals) -> None:
    page = (await api("GET", "/", headers={"Accept": "text/html"})).body.decode()
    assert '<li class="bad"><b>b.test</b><span>it does not lead here</span></li>' in page
