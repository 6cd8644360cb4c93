"""Why a request to an authority got no answer, in words, whatever the library says of it."""

import ssl
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from lb.acme.acme_errors import Unreachable
from lb.acme.fetching import Fetcher, Waits, reason_of
from tests.kit.certificates import certificate


def test_what_has_no_words_is_told_by_what_it_comes_from() -> None:
    error = httpx.ConnectError("")
    assert reason_of(error) == "ConnectError"
    error.__cause__ = ValueError()
    error.__cause__.__context__ = OSError("no such host")
    assert reason_of(error) == "no such host"
    assert reason_of(httpx.ConnectError("refused")) == "refused"


async def test_an_authority_whose_certificate_is_refused_is_told_so(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate("127.0.0.1").write(tmp_path))

    async def serve(stream: trio.SocketStream) -> None:
        with pytest.raises(trio.BrokenResourceError):
            await trio.SSLStream(stream, context, server_side=True).do_handshake()

    async with trio.open_nursery() as nursery, httpx.AsyncClient() as client:
        [listener] = await nursery.start(partial(trio.serve_tcp, serve, 0, host="127.0.0.1"))
        url = f"https://127.0.0.1:{listener.socket.getsockname()[1]}/directory"
        with pytest.raises(Unreachable) as refused:
            await Fetcher(client, url, Waits()).fetch("GET", url)
        nursery.cancel_scope.cancel()
    assert str(refused.value) == (
        "127.0.0.1 cannot be reached: its certificate is refused, self-signed certificate; "
        "tls.acme.ca names who vouches for it"
    )
