"""What the page says of certificates and refused handshakes."""

from pathlib import Path

import msgspec
import pytest

from admin.page.tls_panels import by_reason, of_all, of_certificate, of_handshakes, tone_of_certificate
from admin.views.certificate_json import CertificateList, CertificateView, certificates
from admin.views.handshake_json import handshakes
from lb.certificate_files.handshake_log import HandshakeLog
from lb.certificate_files.termination import Termination
from lb.control import Control
from lb.tls.refusal import HandshakeReason
from tests.admin.kit import EPOCH, Api
from tests.admin.page.test_page import HOSTILE, Seen, page
from tests.kit.certificates import DAY, certificate
from tests.kit.terminations import BELOW, config, refusal

R = HandshakeReason


@pytest.fixture
async def tls(control: Control, tmp_path: Path) -> Termination:
    issued = [
        certificate(f"{name}.test", by=BELOW, valid=(EPOCH - 50 * DAY, EPOCH + days * DAY))
        for name, days in (("valid", 50.0), ("expiring", 10.0), ("critical", 0.5), ("expired", -1.0))
    ]
    control.config = made = config(tmp_path, *issued, routes=["valid.test", "nobody.test"])
    control.tls_listening = ["127.0.0.1:443"]
    control.tls = termination = Termination(made)
    return termination


async def views(control: Control) -> dict[str, CertificateView]:
    return {each.id: each for each in (await certificates(control, control.tls)).items}


async def test_each_certificate_has_a_line_and_a_tone(control: Control, tls: Termination) -> None:
    found = await views(control)
    assert [(of_certificate(each), tone_of_certificate(each)) for each in found.values()] == [
        ("expired · nothing left · until 2027-01-14", "bad"),
        ("critical · 12 h left, 1.0% of its life · until 2027-01-15", "bad"),
        ("expiring · 10 days left, 17% of its life · until 2027-01-25", "warn"),
        ("50 days left, 50% of its life · until 2027-03-06 · 1 route", "ok"),
    ]
    valid = found["valid.test"]
    valid.error = "no key"
    assert tone_of_certificate(valid) == "bad"
    assert of_certificate(valid).endswith(" · its files cannot be used")


def test_what_the_rows_do_not_show_stands_above() -> None:
    found = CertificateList(
        items=[], total=3, listeners=[], uncovered=[*"abcd"], uncovered_count=4, ordered=[], error="x"
    )
    told = "3 more end later · no certificate for a, b, c ... · what is in the files cannot be used"
    assert of_all(found) == told
    nothing = CertificateList(
        items=[], total=0, listeners=[], uncovered=[], uncovered_count=0, ordered=[], error=None
    )
    assert of_all(nothing) == ""


def test_refusals_are_told_by_reason_with_the_newest_of_each() -> None:
    log = HandshakeLog()
    assert of_handshakes(handshakes(log, 100)) == "none yet"
    log.succeeded("front", "TLSv1.3", False, 0.001)
    log.refused(refusal(R.HUNG_UP))
    for listener in ("a", "b"):
        log.refused(refusal(listener=listener))
    found = handshakes(log, 2)
    assert of_handshakes(found) == "3 of 4 since the start"
    assert [tuple(each) for each in by_reason(found)] == [
        ("unknown_name", "2", "There is no certificate for nobody.test.", "Add one."),
        ("hung_up", "1", "–", ""),  # noqa: RUF001
    ]


async def test_the_page_has_both_without_a_script(api: Api, control: Control, tls: Termination) -> None:
    tls.handshakes.refused(msgspec.structs.replace(refusal(), sentence=HOSTILE))
    body = (await page(api)).body.decode()
    seen = Seen(body)
    assert "expired.testexpired · nothing left" in seen.text
    assert f"1 × unknown_name{HOSTILE}" in seen.text  # noqa: RUF001
    assert "no certificate for nobody.test" in seen.text
    assert "<img" not in body
    panels = {each["id"]: each for tag, each in seen.elements if tag == "section" and "id" in each}
    assert "hidden" not in panels["tls"]
    assert "hidden" not in panels["shaken"]


async def test_without_tls_the_panels_are_hidden(api: Api) -> None:
    seen = Seen((await page(api)).body.decode())
    panels = {each["id"]: each for tag, each in seen.elements if tag == "section" and "id" in each}
    assert "hidden" in panels["tls"]
    assert "hidden" in panels["shaken"]
