"""Fault f4.6: the sticky cookie: what it shows, when it is renewed, and its attributes."""

from base64 import urlsafe_b64decode
from http.cookies import SimpleCookie
from typing import Any

import pytest
import trio

import lb as library
from lb.errors import ConfigError
from tests.kit import GET, OK, Backend, Client, Response, Scene, answer, running, virtual_time

pytestmark = virtual_time

HOUR = 3600.0


def scene(**sticky: Any) -> Any:
    """Two backends in a sticky pool; clients are not told what stands behind."""
    return running(Backend, Backend, error_details=False, pools={"default": {"sticky": sticky}})


async def asked(client: Client, *cookies: str) -> Response:
    lines = "".join(f"Cookie: {cookie}\r\n" for cookie in cookies)
    await client.says(GET[:-2] + lines.encode() + b"\r\n")
    return await client.hears(200)


def pair(response: Response) -> str:
    """The cookie as a browser sends it back."""
    return response["Set-Cookie"].partition(";")[0]


class Both:
    """Both backends answer, with their names."""

    def __init__(self, lb: Scene) -> None:
        self._each = [
            backend.answering(answer(name))
            for backend, name in zip(lb.backends, (b"one", b"two"), strict=True)
        ]

    async def __aenter__(self) -> None:
        for each in self._each:
            await each.__aenter__()

    async def __aexit__(self, *how: Any) -> None:
        for each in reversed(self._each):
            await each.__aexit__(*how)


async def test_f4_6_the_value_shows_neither_id_nor_address() -> None:
    async with scene() as lb, Both(lb):
        client = await lb.client()
        first, second = await asked(client), await asked(client)
        values = [pair(each).removeprefix("lb=") for each in (first, second)]
        assert {first.body, second.body} == {b"one", b"two"}
        assert values[0] != values[1]
        for value in values:
            raw = urlsafe_b64decode(value + "=" * (-len(value) % 4))
            for backend in lb.everybody:
                for secret in (backend.id, backend.spec.url.removeprefix("http://"), "127.0.0.1"):
                    assert secret.encode() not in raw
                    assert secret not in value
        for number in range(4):
            each = await asked(client, pair(first))
            assert (each.body, "Set-Cookie" in each) == (first.body, False), number


async def test_f4_6_it_is_renewed_after_half_of_its_age(monkeypatch: pytest.MonkeyPatch) -> None:
    start = trio.current_time()
    monkeypatch.setattr("time.time", lambda: 1_800_000_000 + trio.current_time() - start)
    async with scene(max_age="1h") as lb, Both(lb):
        first = await asked(await lb.client())
        for seconds, renews in ((0.4 * HOUR, False), (0.2 * HOUR, True)):
            await trio.sleep(seconds)
            again = await asked(await lb.client(), pair(first))
            assert (again.body, "Set-Cookie" in again) == (first.body, renews)
        assert pair(again) != pair(first)
        await trio.sleep(0.4 * HOUR)
        last = await asked(await lb.client(), pair(again))
        assert (last.body, "Set-Cookie" in last) == (first.body, False)


@pytest.mark.parametrize("form", ["{other}; {valid}", "{valid}; {other}", "{other}; x=1; {other}; {valid}"])
async def test_f4_6_any_valid_one_of_several_counts(form: str) -> None:
    async with scene() as lb, Both(lb):
        client = await lb.client()
        first = await asked(client)
        for other in ("lb=one.abcdef", "lb=", pair(first)[:-1] + "_"):
            for _ in range(3):
                again = await asked(client, form.format(other=other, valid=pair(first)))
                assert (again.body, "Set-Cookie" in again) == (first.body, False)
        again = await asked(client, "lb=rubbish", pair(first))
        assert again.body == first.body


async def test_f4_6_of_two_valid_ones_the_one_whose_backend_is_there_counts() -> None:
    async with scene() as lb, Both(lb):
        client = await lb.client()
        cookies = {each.body: pair(each) for each in [await asked(client), await asked(client)]}
        lb.registry.maintenance(lb["one"])
        for both in (cookies.values(), reversed(cookies.values())):
            again = await asked(client, "; ".join(both))
            assert (again.body, "Set-Cookie" in again) == (b"two", False)


@pytest.mark.parametrize(
    ("settings", "attributes"),
    [
        ({}, {"path": "/", "httponly": True, "samesite": "Lax"}),
        ({"http_only": False, "path": "/shop"}, {"path": "/shop", "samesite": "Lax"}),
        (
            {"same_site": "None", "secure": True, "domain": ".Example.COM"},
            {"path": "/", "httponly": True, "samesite": "None", "secure": True, "domain": "example.com"},
        ),
        (
            {"same_site": "strict", "max_age": "8h", "cookie": "__Host-lb", "secure": True},
            {"path": "/", "httponly": True, "samesite": "Strict", "secure": True, "max-age": "28800"},
        ),
    ],
)
async def test_f4_6_its_attributes_are_settings(settings: dict[str, Any], attributes: dict[str, Any]) -> None:
    async with scene(**settings) as lb, lb.backends[0].answering(OK), lb.backends[1].answering(OK):
        response = await asked(await lb.client())
        [cookie] = SimpleCookie(response["Set-Cookie"]).values()
        assert {key: value for key, value in cookie.items() if value} == attributes
        assert cookie.key == settings.get("cookie", "lb")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"same_site": "none"}, "same_site"),
        ({"same_site": "loose"}, "same_site"),
        ({"same_site": True}, "same_site"),
        ({"cookie": "__Secure-lb"}, "cookie"),
        ({"cookie": "__Host-lb", "secure": True, "path": "/a"}, "cookie"),
        ({"cookie": "__Host-lb", "secure": True, "domain": "a.test"}, "cookie"),
        ({"domain": "a.test; Path=/x"}, "domain"),
        ({"domain": "http://a.test"}, "domain"),
        ({"domain": "a.test:80"}, "domain"),
        ({"domain": "192.0.2.1"}, "domain"),
        ({"domain": "-a.test"}, "domain"),
        ({"domain": ""}, "domain"),
        ({"path": "shop"}, "path"),
        ({"path": "/a; Secure"}, "path"),
        ({"path": "/a\r\nX: y"}, "path"),
        ({"path": ""}, "path"),
        ({"http_only": "yes"}, "http_only"),
    ],
)
async def test_f4_6_what_a_browser_would_drop_is_refused(settings: dict[str, Any], key: str) -> None:
    with pytest.raises(ConfigError, match=rf"^pools\.default\.sticky\.{key}: \S"):
        library.build({"pools": {"default": {"sticky": settings}}})
