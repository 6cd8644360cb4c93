"""Operators over TLS: who gets in, by what, and what is told of those who do not."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import admin.transport.admission
from admin.transport.bounded_stream import SEND_SECONDS
from lb.certificate_files.termination import Termination
from lb.config.loader import build
from lb.control import Control
from lb.tls.refusal import HandshakeReason, Refusal
from tests.admin.kit import PATIENCE, Add, Serve, Service
from tests.kit.certificates import certificate, rsa_key
from tests.kit.half_hello import HalfHello
from tests.kit.operators import NAME, OTHERS, Office
from tests.kit.terminations import BELOW, lasting

R = HandshakeReason
ASK = "GET {path} HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n"


@pytest.fixture
async def office(control: Control, tmp_path: Path) -> Office:
    """The admin side of this control listens with TLS."""
    office = Office(tmp_path)
    configure(control, office)
    return office


def configure(control: Control, office: Office, **more: object) -> None:
    admin = {
        "listen": "https://127.0.0.1:0",
        "client_ca": str(office.client_ca),
        "tokens_file": str(office.tokens),
    }
    config = build({"admin": admin, "tls": {"certificates": office.certificates}, **more})
    control.config, control.tls = config, Termination(config)


def handshakes(control: Control) -> Any:
    assert control.tls is not None
    return control.tls.handshakes


def refusals(control: Control) -> list[Refusal]:
    return [*handshakes(control).last()]


@asynccontextmanager
async def connected(
    service: Service, context: ssl.SSLContext, name: str | None = NAME
) -> AsyncIterator[trio.SSLStream[trio.SocketStream]]:
    """A connection whose handshake is done; at the end, it closes with close_notify and waits for ours."""
    name = name or service.host
    async with trio.SSLStream(await service.connect(), context, server_hostname=name) as stream:
        with trio.fail_after(PATIENCE):
            await stream.do_handshake()
            yield stream


async def asks(
    service: Service,
    context: ssl.SSLContext,
    path: str = "/info",
    name: str | None = NAME,
    host: str = NAME,
    more: str = "",
) -> tuple[int, Any]:
    """The status and the JSON of an answer, which ends with our close_notify."""
    async with connected(service, context, name) as stream:
        await stream.send_all(ASK.format(path=path, host=host, more=more).encode())
        head, _, body = b"".join([data async for data in stream]).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


async def test_a_token_comes_over_tls(office: Office, control: Control, serve: Serve) -> None:
    async with serve() as service:
        bearer = "Authorization: Bearer s3cret\r\n"
        assert (await asks(service, office.context(), more=bearer))[0] == 200
        status, problem = await asks(service, office.context())
        assert (status, problem["detail"]) == (401, "send it as `Authorization: Bearer TOKEN`")
    assert handshakes(control).done == {(f"127.0.0.1:{service.port}", "TLSv1.3", False): 2}
    assert control.tls_listening == [f"127.0.0.1:{service.port}"]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize(("subject", "scope"), [("alice", "admin"), ("rollout", "drain")])
async def test_a_certificate_is_as_good_as_a_token(
    office: Office, serve: Serve, version: ssl.TLSVersion, subject: str, scope: str
) -> None:
    context = office.context(subject)
    context.maximum_version = version
    async with serve() as service:
        status, info = await asks(service, context)
    assert (status, info["caller"]) == (200, {"name": subject, "scope": scope})


async def test_what_a_certificate_did_is_in_the_audit(
    office: Office, control: Control, serve: Serve, add: Add
) -> None:
    add("web1")
    async with serve() as service:
        async with connected(service, office.context("rollout")) as stream:
            ask = f"POST /backends/web1/ready HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 0\r\n\r\n"
            await stream.send_all(ask.encode())
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
        [act] = control.audit.newest()
        assert (act.who, act.operation) == ("rollout", "POST /backends/{id}/ready")
        status, problem = await asks(service, office.context("rollout"), "/audit")
        assert (status, problem["title"]) == (403, "Not with this token")


async def test_an_owner_of_whom_no_line_speaks_is_told_so(office: Office, serve: Serve) -> None:
    async with serve() as service:
        status, problem = await asks(service, office.context("mallory"))
    assert status == 401
    assert problem["detail"] == "no line of admin.tokens_file is for the certificate of CN=mallory"


async def test_a_token_counts_before_the_certificate(office: Office, serve: Serve) -> None:
    """Otherwise somebody who tries a token would not learn that it is wrong."""
    async with serve() as service:
        context = office.context("alice")
        bearer = "Authorization: Bearer {}\r\n"
        assert (await asks(service, context, more=bearer.format("wrong")))[0] == 401
        status, info = await asks(service, context, more=bearer.format("s3cret"))
    assert (status, info["caller"]) == (200, {"name": "grafana", "scope": "read"})


async def test_the_probes_need_neither(office: Office, serve: Serve) -> None:
    async with serve() as service:
        assert (await asks(service, office.context(), "/healthz"))[0] == 200


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_certificate_of_others_ends_the_handshake(
    office: Office, control: Control, serve: Serve, version: ssl.TLSVersion
) -> None:
    """Even one whose subject stands in the file. The client hears why, by an alert."""
    context = office.context("alice", by=OTHERS)
    context.maximum_version = version
    async with serve() as service:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await asks(service, context)
    assert "unknown ca" in str(caught.value.__cause__).lower()
    [refusal] = refusals(control)
    assert refusal.reason is R.CLIENT_CERTIFICATE_REFUSED
    assert refusal.listener == f"127.0.0.1:{service.port}"
    assert "unable to get local issuer certificate" in refusal.sentence


@pytest.mark.parametrize("name", ["other.test", "a.admin.test"])
async def test_a_name_that_nobody_has_is_refused(
    office: Office, control: Control, serve: Serve, name: str
) -> None:
    async with serve() as service:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await asks(service, office.context(), name=name)
    assert "unrecognized name" in str(caught.value.__cause__).lower()
    [refusal] = refusals(control)
    assert (refusal.reason, refusal.server_name) == (R.UNKNOWN_NAME, name)


async def test_who_comes_by_the_address_names_no_server(office: Office, serve: Serve) -> None:
    async with serve() as service:
        assert (await asks(service, office.context("alice"), name=None, host="127.0.0.1"))[0] == 200


async def test_a_host_that_a_certificate_has_needs_no_setting(office: Office, serve: Serve) -> None:
    """A browser has seen a certificate for the name, so no page of another site has brought it here."""
    async with serve() as service:
        assert (await asks(service, office.context("alice"), host=NAME))[0] == 200
        assert (await asks(service, office.context("alice"), host="other.test"))[0] == 421


async def test_a_host_that_only_a_wildcard_has_needs_one(
    office: Office, control: Control, serve: Serve
) -> None:
    """Who has another name below it can let that lead here, and so steer us by a page of theirs."""
    office.issue(lasting("*.ops.test"))
    configure(control, office)
    async with serve() as service:
        name = "a.ops.test"
        assert (await asks(service, office.context("alice"), name=name, host=name))[0] == 421


async def test_plain_http_is_answered_in_words(office: Office, control: Control, serve: Serve) -> None:
    async with serve() as service:
        answer = await service.says("GET / HTTP/1.1\nHost: a\n\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"this port speaks TLS" in answer
    assert [each.reason for each in refusals(control)] == [R.PLAIN_HTTP]


async def test_who_does_not_go_on_is_ended_in_time(office: Office, control: Control, serve: Serve) -> None:
    configure(control, office, timeouts={"handshake": 0.05})
    async with serve() as service, await service.connect() as stream:
        await HalfHello(stream, office.context(), NAME).begin()
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b""
    assert [each.reason for each in refusals(control)] == [R.TOO_SLOW]


async def test_who_leaves_is_told_of(office: Office, control: Control, serve: Serve) -> None:
    async with serve() as service:
        async with await service.connect() as stream:
            await HalfHello(stream, office.context(), NAME).begin()
        with trio.fail_after(PATIENCE):
            while not refusals(control):
                await trio.lowlevel.checkpoint()
    assert [each.reason for each in refusals(control)] == [R.HUNG_UP]


async def test_handshakes_that_do_not_end_make_room_for_others(
    office: Office, control: Control, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin.transport.admission, "most_connections", lambda: 16)
    async with serve() as service, trio.open_nursery() as nursery:
        streams = [await service.connect() for _ in range(16)]
        for stream in streams:
            nursery.start_soon(HalfHello(stream, office.context(), NAME).begin)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (await asks(service, office.context("alice")))[0] == 200
        assert [each.reason for each in refusals(control)] == [R.TOO_MANY]
        for stream in streams:
            await stream.aclose()


async def test_a_slow_key_has_a_thread(
    office: Office, control: Control, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.issue(certificate(NAME, by=BELOW, key=rsa_key(3072)))
    configure(control, office)
    threads = []
    run_sync = trio.to_thread.run_sync

    async def watched(function: Any, *arguments: Any, **options: Any) -> Any:
        threads.append(getattr(function, "__name__", ""))
        return await run_sync(function, *arguments, **options)

    monkeypatch.setattr(trio.to_thread, "run_sync", watched)
    async with serve() as service:
        assert (await asks(service, office.context("alice")))[0] == 200
    assert "handshake_now" in threads


async def test_a_certificate_is_swapped_while_connections_go_on(
    office: Office, control: Control, serve: Serve
) -> None:
    assert control.tls is not None
    async with serve() as service:
        async with connected(service, office.context()) as old:
            issued = office.issue()
            await control.tls.reload()
            async with connected(service, office.context()) as stream:
                found = stream.getpeercert()
                assert int(str(found["serialNumber"]), 16) == issued.certificate.serial_number
            await old.send_all(ASK.format(path="/healthz", host=NAME, more="").encode())
            assert b"".join([data async for data in old]).startswith(b"HTTP/1.1 200 ")


async def test_other_authorities_count_from_the_next_handshake_on(
    office: Office, control: Control, serve: Serve
) -> None:
    assert control.tls is not None
    async with serve() as service:
        office.client_ca.write_text(OTHERS.pem)
        await control.tls.reload()
        assert (await asks(service, office.context("alice", by=OTHERS)))[0] == 200
        with pytest.raises(trio.BrokenResourceError):
            await asks(service, office.context("alice"))


async def test_the_policy_of_the_traffic_is_not_that_of_operators(
    office: Office, control: Control, serve: Serve
) -> None:
    """Clients of the traffic have to show certificates of another authority; operators show theirs."""
    ca = office.folder / "clients.pem"
    ca.write_text(OTHERS.pem)
    tls = {"certificates": office.certificates, "clients": [{"ca": str(ca)}]}
    configure(control, office, tls=tls)
    async with serve() as service:
        assert (await asks(service, office.context("alice")))[0] == 200
        with pytest.raises(trio.BrokenResourceError):
            await asks(service, office.context("alice", by=OTHERS))


async def test_an_answer_arrives_although_the_body_is_too_large(office: Office, serve: Serve) -> None:
    """What comes after our end is read on for a moment, as without TLS: a reset would destroy the answer."""
    head = f"POST /backends HTTP/1.1\r\nHost: {NAME}\r\nContent-Length: 4000000\r\n\r\n"
    async with serve() as service, connected(service, office.context("alice")) as stream:
        await stream.send_all(head.encode() + b" " * 1_000_000)
        answer = b"".join([data async for data in stream])
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert answer.endswith(b"}")


async def test_a_client_that_stops_reading_is_let_go(office: Office, control: Control, serve: Serve) -> None:
    for number in range(2000):
        control.metrics.admin_requests[f"/{'x' * 4000}{number}", "GET", 200] = 1
    with trio.fail_after(SEND_SECONDS + 8):
        async with serve() as service:
            context = office.context("alice")
            stream = trio.SSLStream(
                await service.connect(), context, server_hostname=NAME, https_compatible=True
            )
            await stream.send_all(f"GET /metrics HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            await stream.receive_some(1000)
    await stream.aclose()


async def test_events_come_until_the_service_stops(office: Office, serve: Serve) -> None:
    async with serve() as service, connected(service, office.context("alice")) as stream:
        await stream.send_all(f"GET /events HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
        received = b""
        while b"retry: " not in received:
            received += await stream.receive_some()
        service.stop.set()
        rest = b"".join([data async for data in stream])
    assert b"event: ending" in rest


async def test_requests_follow_each_other_on_a_connection(office: Office, serve: Serve) -> None:
    async with serve() as service, connected(service, office.context("alice")) as stream:
        for _ in range(3):
            await stream.send_all(f"GET /healthz HTTP/1.1\r\nHost: {NAME}\r\n\r\n".encode())
            answer = b""
            while not answer.endswith(b"}"):
                answer += await stream.receive_some() or b"(the end)}"
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert answer.endswith(b'{"healthy":true}')
