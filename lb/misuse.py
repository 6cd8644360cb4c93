"""What is said of a wrong command line: which command or flag was meant, where that is known.

The tables have words of other programs, such as `nginx -t` or `haproxy -f`. For all others the word of ours
that is nearly alike is suggested.
"""

from collections.abc import Mapping
from difflib import get_close_matches

from cyclopts import App, CycloptsError, UnknownCommandError, UnknownOptionError, UnusedCliTokensError

from lb.settings.admin_defaults import ADMIN_LISTEN
from lb.suggestions import did_you_mean

ALL_ABOUT_ONE = f"all about one: curl {ADMIN_LISTEN}/backends"
COMMANDS: Mapping[str, Mapping[str, str]] = {
    "": {
        "lb run": "start serve up launch daemon",
        "lb drain --exit, or SIGTERM": "stop quit shutdown halt down kill exit",
        "lb reload for a changed file, lb upgrade for another program": "restart",
        "lb config check": "check validate verify test configtest lint",
        "lb config init": "init new",
        "lb config show": "dump",
        "lb --version": "version",
        "lb --help": "help man usage",
        "lb backends": "list ls show servers backend upstreams targets",
        "lb backends add": "add",
        "lb backends rm": "rm remove delete",
        "lb tap": "log logs watch tail",
    },
    "config": {
        "lb config check": "validate verify test lint",
        "lb config init": "new create",
        "lb config show": "dump print get",
        "lb reload": "reload apply",
    },
    "backends": {
        "lb backends ls": "list all",
        "lb backends rm": "remove delete del",
        "lb backends ready": "enable undrain up",
        "lb backends maintenance": "disable down",
    },
}
"""For each command that has commands, those of ours with the words that others have for them."""
FLAGS: Mapping[str, Mapping[str, str]] = {
    "run": {
        "it is --listen, such as --listen :80": "--port --bind --address --host -p",
        "it is --config, such as --config lb.toml": "--file --conf -f -c",
        "it is --backend, such as --backend http://127.0.0.1:3000": "--upstream --server --target --to -b",
        "it is lb config check FILE": "--check --test --dry-run -t",
    },
    "config check": {"the file is an argument: lb config check FILE": "--config --file --conf -f -c"},
    "config diff": {"the file is an argument: lb config diff FILE": "--config --file --conf -f -c"},
    "config init": {"the file is an argument: lb config init FILE": "--config --file --conf -f -c"},
    "reload": {
        "it reads the file that lb run has; lb config diff FILE compares with another": "--config --file"
    },
}
"""For each command flags that others have, and what is said of them."""
BEHIND: Mapping[str, str] = {
    "run": "a file goes behind --config: lb run --config {}",
    "backends ls": f"{ALL_ABOUT_ONE}/{{}}",
    "drain": "it takes the balancer itself out; for a backend: lb backends drain {}",
}
"""What is said of a word behind a command that takes none."""


def misuse(error: CycloptsError) -> str:
    """The message for a wrong command line."""
    command = " ".join(error.command_chain or ())
    match error:
        case UnknownOptionError():
            return _unknown_option(command, error)
        case UnusedCliTokensError(unused_tokens=[word, *_]):
            return _unused(command, word, error.app)
        case UnknownCommandError(unused_tokens=[word, *_]):
            return _unknown_command(command, word, error.app)
    return str(error)


def _unknown_command(command: str, word: str, app: App | None) -> str:
    """An option before the command is one of these too."""
    if word.startswith("-"):
        option = word.partition("=")[0]
        return f"{option} goes behind the command: lb COMMAND {option} ..."
    return f"{f'lb {command}'.strip()} has no command {word!r}{_meant(command, word, app)}"


def _unused(command: str, word: str, app: App | None) -> str:
    """About a word that is too much; a command that does something by itself may have commands too."""
    if command in BEHIND:
        return f"lb {command} does not take {word!r}: {BEHIND[command].format(word)}"
    meant = _meant(command, word, app) if command in COMMANDS else ""
    return f"lb {command} does not take {word!r}{meant}"


def _meant(command: str, word: str, app: App | None) -> str:
    """The end of a sentence about a word that is no command below this one."""
    known = COMMANDS.get(command, {})
    if ours := next((ours for ours, words in known.items() if word in words.split()), None):
        return f"; here it is {ours}"
    meant = did_you_mean(word, [name for name in app or () if not name.startswith("-")])
    is_backend = command == "backends" and not meant.endswith("?")
    return f"{meant}; {ALL_ABOUT_ONE}/ID" if is_backend else meant


def _unknown_option(command: str, error: UnknownOptionError) -> str:
    option = (error.token.keyword or error.token.value).partition("=")[0]
    known = FLAGS.get(command, {})
    if said := next((said for said, words in known.items() if option in words.split()), None):
        return f"lb {command} has no {option}; {said}"
    behind = f"; one of the command to run goes behind --: lb rollout -- COMMAND {option} ..."
    return f"lb {command} has no {option}{_like(option, error)}{behind if command == 'rollout' else ''}"


def _like(option: str, error: UnknownOptionError) -> str:
    """Dashes are not compared, as all have them. One letter is like nothing."""
    names = [name.lstrip("-") for each in error.argument_collection for name in each.names]
    close = get_close_matches(option.lstrip("-"), names, n=1) if option.startswith("--") else []
    return f", did you mean `--{close[0]}`?" if close else ""
