"""The README is short, its links lead somewhere, what it names exists, and its policy works."""

import re
import sys
import tomllib
from pathlib import Path
from pkgutil import resolve_name
from types import ModuleType

import pytest

import lb
import lb.app
from admin.application import operations
from admin.reference.no_balancer import no_balancer
from admin.reference.reference_book import ReferenceBook
from admin.reference.settings_reference import settings_topic
from lb import cli
from lb.config.loader import build
from lb.discovery import kinds
from lb.run_command import FIRST_FILE
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


DOTTED = named(r"(lb|admin)(?!\.toml)(\.\w+)+", section("Inside"))
PATHS = [*named(r"(lb|admin|tests|\.ci|\.github)/[\w./]*"), "pyproject.toml"]


@pytest.mark.parametrize("name", DOTTED)
def test_a_dotted_name_exists(name: str) -> None:
    resolve_name(name)


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).is_dir() if path.endswith("/") else (ROOT / path).is_file()


def test_the_names_are_found() -> None:
    assert "lb.proxy.context.Context.finished" in DOTTED
    assert "lb/settings/pool_settings.py" in PATHS


@pytest.mark.parametrize("package", ["lb", "admin", "lb.proxy"])
def test_the_layers_are_in_the_order_of_the_contract(package: str) -> None:
    """Not all of them have to be drawn."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [layers] = [
        [name.replace(f"{package}.", "") for layer in contract["layers"] for name in layer.split(" | ")]
        for contract in contracts
        if contract["type"] == "layers"
        and (
            contract.get("containers", []) == [package] or f"{package}.application" in str(contract["layers"])
        )
    ]
    drawn = re.search(rf"^{package} +(\w[^`]*?)(?=^\S|^```)", section("Inside"), re.MULTILINE)
    assert drawn is not None
    names = re.split(r"\s+[>|]\s+", drawn[1].strip())
    assert len(names) >= 9
    assert names == sorted(names, key=layers.index)


def test_the_tree_of_tasks_is_that_of_the_program() -> None:
    def tasks(text: str) -> list[str]:
        return re.findall(r"[├└]─+ ([^ ]+(?: [^ ]+)*?)  ", text)

    drawn = tasks(section("Inside"))
    assert drawn == tasks(lb.app.__doc__ or "")
    assert "readiness" in drawn


def test_certificates_are_ordered_as_is_said() -> None:
    config = build(tomllib.loads(block("toml", "[tls.acme]\nnames")))
    assert config.tls.acme is not None
    assert config.tls.acme.directory == ("letsencrypt",)


RECIPES = [
    text
    for text in re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    if ".discover]]" in text
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_each_recipe_of_a_source_can_be_followed(recipe: str) -> None:
    """As it stands, and with the lines that are commented out where they say no other source."""
    more = re.sub(r"^# (?!(dns|files|http|docker|etcd|kubernetes|consul) = )", "", recipe, flags=re.MULTILINE)
    for text in (recipe, more):
        pools = build(tomllib.loads(text)).pools
        kinds.check(pools)
        assert any(pool.discover for pool in pools.values())


# -- its links, commands and keys ---------------------------------------------------------------------------

MOST_LINES = 600
PROSE = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
SHOWN = [*re.findall(r"^\$ (.*)$", README, re.MULTILINE), *re.findall(r"`([^`]+)`", PROSE)]
COMMANDS = sorted(
    {
        command.partition("  #")[0].strip()
        for line in SHOWN
        for command in re.split(r" && |; |[|>()]", line)
        if re.match(r" *lb [a-z]", command)
    }
)
KEYS = {entry.name for entry in settings_topic().entries}
TABLES = {key.removeprefix("pools.").partition(".")[0] for key in KEYS if "." in key}


def test_it_is_short() -> None:
    assert len(README.splitlines()) <= MOST_LINES


def test_its_links_lead_somewhere() -> None:
    titles = re.findall(r"^#+ (.*)$", PROSE, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
    links = re.findall(r"\]\(([^)\s]+)\)", PROSE)
    assert len(links) > 30
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors, link
        else:
            assert link.startswith("https://") or (ROOT / link).is_file(), link


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_exists_with_its_flags(command: str) -> None:
    resolve(command.split()[1:])


def resolve(words: list[str]) -> None:
    """Fails where there is no such command, or it has no such flag."""
    command = cli.app
    while words and words[0] in command:
        command, words = command[words[0]], words[1:]
    assert command is not cli.app, words
    shown = {name for each in command.assemble_argument_collection() for name in each.names}
    flags = [word.partition("=")[0] for word in words if word.startswith("--")]
    assert {*flags} <= shown | {"--admin", "--token-file", "--json"}, (command.name, flags)


def test_the_commands_are_found() -> None:
    assert {"lb backends drain server1", "lb token new me admin", "lb docs lb.socket"} <= {*COMMANDS}
    assert len(COMMANDS) > 30


def test_a_key_that_is_named_exists() -> None:
    """Those of a pool may stand without its name, such as `retry.statuses`."""
    spans = re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?: = [^`]*)?`", PROSE)
    found = {each for each in spans if each.partition(".")[0] in TABLES}
    assert {"timeouts.grace", "retry.statuses"} <= found
    assert {each for each in found if each not in KEYS and f"pools.{each}" not in KEYS} == set()


@pytest.mark.parametrize("word", sorted({*re.findall(r"`lb docs ([^`]+)`", PROSE)} - {"TOKEN"}))
def test_what_it_says_to_look_up_is_there(word: str) -> None:
    ReferenceBook(lambda: operations(no_balancer())).look_up(word)


@pytest.mark.parametrize("text", re.findall(r"^```toml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL))
def test_each_file_that_is_shown_is_right(text: str) -> None:
    build(tomllib.loads(text))


def test_the_smallest_file_is_what_init_writes() -> None:
    first, rest = FIRST_FILE.split("[[", 1)
    assert all(line.startswith("#") for line in first.splitlines())
    assert f"[[{rest}" in README
