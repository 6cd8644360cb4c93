"""Sessions with backends: taken up again, but not for ever, and not when their certificate has ended."""

import ssl
import time
from pathlib import Path

import pytest

from lb.proxy.backend_side.backend_tls import RESUMED_SECONDS
from tests.kit import GET, Backend, Scene, answer, running
from tests.kit.certificates import authority, certificate
from tests.kit.wires import SecureSocket

LAST = answer(b"ok", "Connection: close")
ROOT = authority()


def backend_with(folder: Path, lasting: float) -> Backend:
    """It shows a certificate that lasts so long from now."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = time.time()
    context.load_cert_chain(*certificate("127.0.0.1", by=ROOT, valid=(now - 60, now + lasting)).write(folder))
    return Backend(context=context)


async def is_resumed(lb: Scene) -> bool:
    """Whether a request's new connection to the backend takes up a session."""
    client = await lb.asks(GET)
    peer = await lb.backend.hears()
    sock = peer.sock
    assert isinstance(sock, SecureSocket)
    await peer.says(LAST)
    peer.closes()
    await client.hears(200)
    client.closes()
    return bool(sock._tls.session_reused)


@pytest.mark.parametrize(("lasting", "after"), [(1e7, RESUMED_SECONDS), (600, 600)])
async def test_a_certificate_is_verified_anew_hourly_and_when_it_has_ended(
    tmp_path: Path, lasting: float, after: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each session that is taken up gives another one, which does not prolong the first."""
    began, passed = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: began() + passed)
    pools = {"default": {"tls": {"ca": str(tmp_path / "ca.pem")}}}
    (tmp_path / "ca.pem").write_text(ROOT.pem)
    async with running(lambda: backend_with(tmp_path, lasting), pools=pools) as lb:
        assert [await is_resumed(lb) for _ in range(3)] == [False, True, True]
        passed = after - 30
        assert await is_resumed(lb)
        passed = after + 1
        assert not await is_resumed(lb)
