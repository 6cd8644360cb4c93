"""What was probably meant by a path that is not served."""

import pytest

from admin.protocol.near_paths import LONGEST_PATH, near_path
from tests.admin.kit import Api

SERVED = ("/backends", "/backends/{id}", "/backends/{id}/drain", "/pools/{name}", "/drain", "/")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("/backend", "/backends"),
        ("/Backends/", "/backends"),
        ("/drian", "/drain"),
        ("/backend/web1/drian", "/backends/web1/drain"),
        ("/pool/shop", "/pools/shop"),
        ("/zzz", None),
        ("/backends/web1/zzz", None),
        ("/backends/web1/drain/now", None),
        ("/" + "backend" * LONGEST_PATH, None),
    ],
)
def test_a_path_is_compared_step_by_step(path: str, meant: str | None) -> None:
    assert near_path(path, SERVED) == meant


async def test_a_path_with_a_typo_is_told_what_was_meant(api: Api) -> None:
    answer = await api("POST", "/backends/web1/drian")
    assert (answer.status, answer.json["title"]) == (404, "There is no such thing")
    assert answer.json["detail"] == "did you mean /backends/web1/drain? GET / lists every path"
    answer = await api("GET", "/zzz")
    assert answer.json["detail"] == "GET / lists every path"


async def test_a_backend_that_is_not_there_is_no_typo(api: Api) -> None:
    assert "did you mean" not in (await api("GET", "/backends/web1")).json["detail"]
