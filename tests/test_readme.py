"""The README shows the real defaults and every key, names what exists, and its policy works."""

import re
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import msgspec
import pytest

import lb
import lb.app
from lb.config.loader import build
from lb.errors import Reason
from lb.settings.balancer_settings import Route
from lb.settings.pool_settings import Buffer, Ejection, Hash, Hedge, PoolSettings, Probe, Retry, Sticky
from tests.kit.backend import OK, Backend
from tests.kit.balancer import running
from tests.kit.client import GET
from tests.kit.time import virtual_time

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


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


# -- what it says of the code ------------------------------------------------------------------------------


def section(title: str) -> str:
    return README.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def named(pattern: str, text: str = README) -> list[str]:
    """What stands between backticks and is of this form; each once, code blocks left out."""
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return sorted({span for span in re.findall(r"`([^`]+)`", prose) if re.fullmatch(pattern, span)})


DOTTED = named(r"(lb|admin)(?!\.toml)(\.\w+)+", section("How it is built") + section("Contributing"))
PATHS = [*named(r"(lb|admin|tests|\.ci|\.github)/[\w./]*"), "pyproject.toml"]
FOLDERS = [
    path for root in ("lb", "admin") for path in (ROOT / root).iterdir() if (path / "__init__.py").exists()
]


@pytest.mark.parametrize("name", DOTTED)
def test_a_dotted_name_exists(name: str) -> None:
    resolve_name(name)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_the_names_are_found() -> None:
    assert "lb.proxy.context.Context.finished" in DOTTED
    assert "lb/proxy/client_side/fast_path.py" in PATHS


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_each_folder_has_its_row(folder: Path) -> None:
    rows = section("How it is built").partition("| folder |")[2]
    assert f"`{folder.relative_to(ROOT)}/`" in rows.partition("\n\n")[0]


@pytest.mark.parametrize("package", ["lb", "admin", "lb.proxy"])
def test_the_layers_are_those_of_the_contract(package: str) -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [
        [name.replace(f"{package}.", "") for name in contract["layers"] if name != "__main__"]
        for contract in contracts
        if contract["type"] == "layers"
        and (contract.get("containers", []) == [package] or f"{package}.server" in contract["layers"])
    ]
    drawn = re.search(rf"^{package} +(\w[^`]*?)(?=^\S|^```)", section("Contributing"), re.MULTILINE)
    assert drawn is not None
    assert re.split(r"\s+>\s+", drawn[1].strip()) == layers


def test_the_tree_of_tasks_is_that_of_the_program() -> None:
    def tasks(text: str) -> list[str]:
        return re.findall(r"[├└]─+ ([^ ]+(?: [^ ]+)*?)  ", text)

    drawn = tasks(section("How it is built"))
    assert drawn == tasks(lb.app.__doc__ or "")
    assert "readiness" in drawn


NEVER_ANSWERED = {Reason.CLIENT_DISCONNECTED, Reason.CONNECTION_READ_TIMEOUT}
"""Reasons of exchanges whose client has left, or has a part of its response already."""


@pytest.mark.parametrize("reason", sorted({*Reason} - NEVER_ANSWERED))
def test_each_error_that_a_client_can_get_has_its_row(reason: Reason) -> None:
    assert re.search(rf"^\| \d.*`{reason}`.*\|", section("When something fails"), re.MULTILINE)


@pytest.mark.parametrize("table", ["access_log", "timeouts", "limits", "admin"])
def test_each_key_of_a_table_is_shown_with_its_default(table: str) -> None:
    text = block("toml", "[timeouts]").partition(f"\n[{table}]")[2].partition("\n[")[0]
    shown = re.findall(r"^(?:# )?(\w+) = ", text, re.MULTILINE)
    default = getattr(build({}), table)
    assert sorted(shown) == sorted(default.__struct_fields__)
    assert getattr(build({table: tomllib.loads(text)}), table) == default


@pytest.mark.parametrize(
    "struct",
    [PoolSettings, Buffer, Probe, Ejection, Retry, Hedge, Hash, Sticky, lb.BackendSpec, Route],
    ids=str,
)
def test_each_key_of_a_pool_is_shown(struct: type[msgspec.Struct]) -> None:
    text = block("toml", "[timeouts]")
    for key in struct.__struct_fields__:
        assert re.search(rf"^(# )?(\w+\.)*(\[+pools\.default\.)?{key}( = |\])", text, re.MULTILINE), key
