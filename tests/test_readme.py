"""The README shows the real defaults, and its policy works."""

import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

import lb
from lb.config.loader import build
from tests.kit.backend import OK, Backend
from tests.kit.balancer import running
from tests.kit.client import GET
from tests.kit.time import virtual_time

README = (Path(__file__).parents[1] / "README.md").read_text()


def block(language: str, word: str) -> str:
    """The code block in this language that contains this word."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return str(next(text for text in blocks if word in text))


def test_the_configuration_shows_the_defaults() -> None:
    shown = tomllib.loads(block("toml", "[timeouts]"))
    pool = dict(shown["pools"]["default"])
    [backend] = pool.pop("backends")
    default = build({}).pools["default"]
    assert (
        build({"pools": {"default": pool}}).pools["default"].settings
        == lb.build({"pools": {"default": {"probe": {}}}}).pools["default"].settings
    )
    assert default.probe is None
    assert lb.BackendSpec(**backend).checked() == lb.BackendSpec(
        id="web1", url="http://10.0.0.1:8000", labels={"rack": "a"}
    )


@pytest.fixture
def ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module `ours` with the example in it."""
    module = ModuleType("ours")
    exec(block("python", "class Cheapest"), module.__dict__)
    monkeypatch.setitem(sys.modules, "ours", module)


@virtual_time
@pytest.mark.usefixtures("ours")
async def test_a_policy_of_ones_own_chooses() -> None:
    async with running(Backend, Backend, pools={"default": {"policy": "ours:Cheapest"}}) as balancer:
        dear, cheap = (balancer[name] for name in ("one", "two"))
        for backend, price in ((dear, "3"), (cheap, "2")):
            balancer.registry.change(
                backend, lb.BackendSpec(id=backend.id, url=backend.spec.url, labels={"price": price})
            )
        async with balancer.backends[1].answering(OK) as heard:
            client = await balancer.client()
            for _ in range(3):
                await client.says(GET)
                await client.hears(200)
            assert len(heard) == 3
        assert balancer.registry.pools["default"].policy.failures == 0  # type: ignore[attr-defined]
