"""How near its end a certificate is, and that each stage is told once."""

from dataclasses import replace
from pathlib import Path

import pytest

from lb.tls.certificate import Certificate, load_certificate
from lb.tls.pem_files import read_pem
from lb.tls.remaining_life import Countdown, Reached, Stage, described, stage_of
from tests.kit.certificates import DAY, certificate


@pytest.fixture(scope="module")
def leaf(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    files = certificate("www.test").write(Path(tmp_path_factory.mktemp("leaf")))
    return load_certificate(*files, read_pem).certificate


def lasting(leaf: Certificate, days: float) -> Certificate:
    """It begins at 0 and is valid for so many days."""
    return replace(leaf, not_before=0.0, not_after=days * DAY)


@pytest.mark.parametrize(
    ("days", "at", "stage"),
    [
        (100, -1, "not yet valid"),
        (100, 0, "valid"),
        (100, 74.9, "valid"),
        (100, 75.1, "expiring"),
        (100, 89.9, "expiring"),
        (100, 90.1, "critical"),
        (100, 99.9, "critical"),
        (100, 100, "expired"),
        (10, 7.6, "expiring"),
        (10, 8.1, "critical"),  # less than two days
        (6, 4.4, "valid"),  # the same, but more than a quarter of its life
        (6, 4.6, "critical"),
    ],
)
def test_the_stages(leaf: Certificate, days: float, at: float, stage: Stage) -> None:
    assert stage_of(lasting(leaf, days), at * DAY) == stage


def reached(countdown: Countdown, leaf: Certificate, day: float) -> list[Reached]:
    """What it gives of this one at that day."""
    found = [*countdown.reaching([("www.test", leaf)], day * DAY)]
    assert len(found) == 1
    return [each for each in found if each is not None]


def test_each_stage_is_told_once(leaf: Certificate) -> None:
    countdown = Countdown()
    told = [
        (day, each.stage, each.is_new)
        for day in (10, 74, 76, 77, 91, 92, 100, 101)
        for each in reached(countdown, lasting(leaf, 100), day)
    ]
    assert told == [(76, "expiring", False), (91, "critical", False), (100, "expired", False)]


def test_one_that_is_near_its_end_from_the_start_is_told_as_new(leaf: Certificate) -> None:
    countdown = Countdown()
    [first] = reached(countdown, lasting(leaf, 100), 95)
    assert (first.id, first.stage, first.is_new) == ("www.test", "critical", True)
    assert reached(countdown, lasting(leaf, 100), 96) == []


def test_a_renewed_one_is_another(leaf: Certificate) -> None:
    countdown = Countdown()
    assert len(reached(countdown, lasting(leaf, 100), 80)) == 1
    renewed = replace(lasting(leaf, 200), fingerprint="other")
    assert reached(countdown, renewed, 81) == []
    assert [each.stage for each in reached(countdown, renewed, 181)] == ["critical"]


def test_what_is_left_is_said_in_words(leaf: Certificate) -> None:
    assert described(lasting(leaf, 100), 80 * DAY) == "20.0 days and 20% of its lifetime are left"
    assert described(lasting(leaf, 100), 101 * DAY) == "it ended 1.0 days ago, so clients refuse it"
