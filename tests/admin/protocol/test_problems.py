"""Each kind of problem has a page that explains it."""

import pytest

from admin.protocol.problems import KINDS
from lb.settings.balancer_settings import AdminConfig
from tests.admin.kit import Api, MakeApi


@pytest.mark.parametrize("slug", KINDS)
async def test_every_problem_is_explained(api: Api, slug: str) -> None:
    answer = await api("GET", f"/problems/{slug}")
    assert answer.body.decode().startswith(f"{KINDS[slug].status} {KINDS[slug].title}\n")


async def test_who_has_no_token_is_told_how_to_send_one_and_may_read_why(make_api: MakeApi) -> None:
    api = make_api(AdminConfig(), "t0ken")
    answer = await api("GET", "/backends")
    assert (answer.status, answer.json["title"]) == (401, "A token is needed")
    assert answer.json["detail"] == "send it as `Authorization: Bearer TOKEN`"
    assert (await api("GET", answer.json["type"])).status == 200
    assert (await api("GET", "/problems/nope")).status == 404
