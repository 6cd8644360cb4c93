"""What needs the token, and what does not."""

import logging

import pytest

from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import MakeApi, is_problem

TOKEN = "s3cret-token"


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer ü"]
)
async def test_g146_without_the_token_nothing_but_the_probes(make_api: MakeApi, given: str | None) -> None:
    api = make_api(AdminConfig(), TOKEN)
    headers = {} if given is None else {"Authorization": given}
    for method, path in [("GET", "/"), ("GET", "/nope"), ("POST", "/backends"), ("GET", "/metrics")]:
        answer = await api(method, path, headers=headers)
        assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Bearer realm="lb"')
        assert is_problem(answer)
    assert (await api("GET", "/healthz", headers=headers)).status == 200
    assert (await api("GET", "/readyz", headers=headers)).status == 503


async def test_g146_with_the_token_everything(make_api: MakeApi, caplog: pytest.LogCaptureFixture) -> None:
    api = make_api(AdminConfig(), TOKEN)
    with caplog.at_level(logging.DEBUG):
        for scheme in ("Bearer", "bearer"):
            headers = {"Authorization": f"{scheme} {TOKEN}"}
            assert (await api("GET", "/backends", headers=headers)).status == 200
    assert TOKEN not in caplog.text


async def test_metrics_are_open_by_option(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(metrics_open=True), TOKEN)
    assert (await api("GET", "/metrics")).status == 200
    assert (await api("GET", "/backends")).status == 401
