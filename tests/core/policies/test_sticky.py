"""Sticky pools: the cookie that brings a client back, and what a forged one is worth."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lb.core.backend import Backend
from lb.core.policies.base import Policy
from lb.core.policies.load_based import Ewma
from lb.core.policies.round_robin import RoundRobin
from lb.core.policies.sticky import Sticky
from lb.settings import pool_settings
from lb.settings.backend_spec import ID, BackendSpec
from tests.core.scene import Clock, Request, backends

KEY = b"k" * 32
WALL = 1_800_000_000.5


def sticky(key: bytes = KEY, inner: Policy | None = None, **more: Any) -> Sticky:
    return Sticky(pool_settings.Sticky(**more), key, inner or RoundRobin(), lambda: WALL)


def bearer(value: bytes, name: bytes = b"lb") -> Request:
    request = Request()
    request.jar[name] = [value]
    return request


def value_of(policy: Sticky, backend: Backend) -> bytes:
    return policy.cookie_for(backend).partition(b";")[0].partition(b"=")[2]


def test_a_client_comes_back_to_its_backend() -> None:
    candidates, policy = backends(1, 1, 1), sticky()
    client = bearer(value_of(policy, candidates[1]))
    assert [policy.choose(candidates, client).id for _ in range(4)] == ["b"] * 4


def test_without_a_cookie_the_inner_policy_chooses() -> None:
    candidates, policy = backends(1, 1), sticky()
    assert [policy.choose(candidates, Request()).id for _ in range(4)] == ["a", "b", "a", "b"]


def test_one_that_is_no_candidate_is_replaced() -> None:
    a, b, c = backends(1, 1, 1)
    policy = sticky()
    client = bearer(value_of(policy, c))
    assert policy.choose([a, b], client) is a
    assert policy.names(client) == ("c",)


def test_balancers_with_the_same_key_agree_and_others_do_not() -> None:
    (a,) = backends(1)
    client = bearer(value_of(sticky(), a))
    assert sticky().names(client) == ("a",)
    assert sticky(b"another").names(client) == ()


@given(st.from_regex(ID, fullmatch=True))
def test_every_id_that_a_backend_may_have(name: str) -> None:
    backend, policy = Backend(BackendSpec(id=name, url="http://a.test"), "default", "test", 0.0), sticky()
    value = value_of(policy, backend)
    assert policy.names(bearer(value)) == (name,)
    assert set(value) <= set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")


@given(data=st.data())
def test_whatever_is_changed_in_it_makes_it_worthless(data: st.DataObject) -> None:
    (a,) = backends(1)
    policy = sticky()
    value = value_of(policy, a)
    at = data.draw(st.integers(0, len(value) - 1))
    forged = data.draw(
        st.one_of(
            st.just(value[:at]),
            st.just(value + b"="),
            st.binary(min_size=1, max_size=3).map(lambda new: value[:at] + new + value[at + 1 :]),
        )
    )
    assert forged == value or policy.names(bearer(forged)) == ()


@given(st.binary(max_size=300))
def test_no_value_can_do_harm(value: bytes) -> None:
    assert sticky().names(bearer(value)) == ()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        ({}, b"lb=%b; Path=/; HttpOnly; SameSite=Lax"),
        ({"cookie": "SRV"}, b"SRV=%b; Path=/; HttpOnly; SameSite=Lax"),
        ({"max_age": 3600.0}, b"lb=%b; Path=/; HttpOnly; SameSite=Lax; Max-Age=3600"),
        ({"max_age": 0.5}, b"lb=%b; Path=/; HttpOnly; SameSite=Lax; Max-Age=1"),  # 0 would delete it
        ({"secure": True}, b"lb=%b; Path=/; HttpOnly; SameSite=Lax; Secure"),
        ({"same_site": "strict", "http_only": False}, b"lb=%b; Path=/; SameSite=Strict"),
        ({"same_site": "none", "secure": True}, b"lb=%b; Path=/; HttpOnly; SameSite=None; Secure"),
        ({"path": "/a", "domain": "b.test"}, b"lb=%b; Path=/a; Domain=b.test; HttpOnly; SameSite=Lax"),
    ],
)
def test_the_cookie(more: dict[str, Any], line: bytes) -> None:
    (a,) = backends(1)
    policy = sticky(**more)
    assert policy.cookie_for(a) == line % value_of(policy, a)


def test_the_cookie_has_the_name_that_was_set() -> None:
    (a,) = backends(1)
    policy = sticky(cookie="SRV")
    value = value_of(policy, a)
    assert policy.names(bearer(value, b"SRV")) == ("a",)
    assert policy.names(bearer(value)) == ()


@pytest.mark.parametrize(
    ("inner", "learns"), [(RoundRobin, False), (lambda: Ewma(Clock(), lambda: 0.5), True)]
)
def test_what_attempts_show_goes_to_the_inner_policy(inner: Callable[[], Policy], learns: bool) -> None:
    policy = sticky(inner=inner())
    assert (policy.ended is not None) is learns
    assert not learns or policy.ended == policy.inner.ended  # type: ignore[attr-defined]
