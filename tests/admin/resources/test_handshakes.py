"""/handshakes: which were refused, why, and how many there were."""

from pathlib import Path

import pytest

from lb.certificate_files.handshake_log import HandshakeLog
from lb.control import Control
from lb.tls.refusal import HandshakeReason
from tests.admin.kit import Api
from tests.kit.terminations import lasting, refusal, terminating


@pytest.fixture
async def log(control: Control, tmp_path: Path) -> HandshakeLog:
    """One that succeeded and three that were refused, for two reasons."""
    control.tls = terminating(tmp_path, lasting("www.test"))
    made = control.tls.handshakes
    made.succeeded("127.0.0.1:443", "TLSv1.3", True, 0.002)
    for reason in (
        HandshakeReason.UNKNOWN_NAME,
        HandshakeReason.CLIENT_DISTRUSTS_US,
        HandshakeReason.UNKNOWN_NAME,
    ):
        made.refused(refusal(reason))
    return made


async def test_the_refused_ones_are_explained_and_all_are_counted(api: Api, log: HandshakeLog) -> None:
    found = (await api("GET", "/handshakes?refused=true")).json
    assert [each["reason"] for each in found["items"]] == [
        "unknown_name",
        "client_distrusts_us",
        "unknown_name",
    ]
    assert found["items"][0] == {
        "at": "2027-01-15T08:00:00.000Z",
        "peer": "192.0.2.1:5000",
        "listener": "127.0.0.1:443",
        "server_name": "nobody.test",
        "versions": ["TLS 1.3", "TLS 1.2"],
        "protocols": ["h2", "http/1.1"],
        "ciphers": ["TLS_AES_128_GCM_SHA256"],
        "reason": "unknown_name",
        "sentence": "There is no certificate for nobody.test.",
        "help": "Add one.",
    }
    assert found["refused"] == [
        {"listener": "127.0.0.1:443", "reason": "unknown_name", "count": 2},
        {"listener": "127.0.0.1:443", "reason": "client_distrusts_us", "count": 1},
    ]
    assert found["done"] == [{"listener": "127.0.0.1:443", "version": "TLSv1.3", "resumed": True, "count": 1}]


async def test_fewer_or_counts_alone(api: Api, log: HandshakeLog) -> None:
    assert len((await api("GET", "/handshakes?limit=1")).json["items"]) == 1
    found = (await api("GET", "/handshakes?refused=false")).json
    assert (found["items"], len(found["refused"])) == ([], 2)
    assert (await api("GET", "/handshakes?limit=101")).status == 422


async def test_the_table_is_for_people(api: Api, log: HandshakeLog) -> None:
    _head, *rows = (await api("GET", "/handshakes?format=table")).body.decode().splitlines()
    assert rows[0].split()[1:5] == ["192.0.2.1:5000", "127.0.0.1:443", "nobody.test", "unknown_name"]


async def test_without_tls_there_are_none(api: Api) -> None:
    assert (await api("GET", "/handshakes")).json == {"items": [], "refused": [], "done": []}
