"""What all remote commands have in common: the flags, and one connection to the balancer that is meant.

Everything else is imported when a command runs. Messages about errors go to stderr, so stdout has nothing
but the answer.
"""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import printable, warn

if TYPE_CHECKING:
    from lb.remote.api import Remote

BackendId = Annotated[str, Parameter(name="ID")]


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """Where to ask, and how to print.

    Parameters
    ----------
    admin
        The balancer's admin address: a URL, HOST:PORT or unix:PATH. Else LB_ADMIN, ./lb.toml, 127.0.0.1:9000.
    token_file
        The file with the admin token; else LB_ADMIN_TOKEN.
    ca
        For an https address: a file of authorities to believe; else LB_ADMIN_CA, or those of the system.
    cert
        Our certificate and its chain, in place of a token; else LB_ADMIN_CERT.
    key
        Its key, unless the file of the certificate has it; else LB_ADMIN_KEY.
    json
        Print what the API answers, as it is.
    """

    admin: str | None = None
    token_file: Path | None = None
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    json: bool = False


HERE = Options()


def patience(wait: str | None, no_wait: bool) -> float | None:
    """The seconds to wait: without a limit by default, None for --no-wait."""
    if wait is not None and no_wait:
        raise Failed("--wait and --no-wait exclude each other", Code.MISUSED)
    if no_wait:
        return None
    return inf if wait is None else duration(wait)


def duration(text: str, flag: str = "--wait") -> float:
    from lb.settings.values import parse_duration

    try:
        return parse_duration(float(text) if text.replace(".", "", 1).isdecimal() else text)
    except ValueError as exc:
        raise Failed(f"{flag}: {exc}", Code.MISUSED) from exc


def watch(options: Options, ask: "Callable[[Remote], int]") -> int:
    """As `ask_balancer`, for a command that runs until Ctrl-C, which is then no error."""
    try:
        return ask_balancer(options, ask)
    except KeyboardInterrupt:
        return Code.DONE


def ask_balancer(options: Options, ask: "Callable[[Remote], int]") -> int:
    """Connect to the balancer that is meant, run `ask`, and turn every error into an exit code."""
    from lb.remote import address, secure
    from lb.remote.api import Remote

    def connected() -> int:
        files = secure.Files(options.ca, options.cert, options.key)
        return ask(Remote(address.find(options.admin, options.token_file, files=files)))

    return local(connected)


def local(run: "Callable[[], int]") -> int:
    """Run a command, and turn every error into an exit code."""
    _escape_unencodable()
    try:
        return run()
    except Failed as exc:
        warn(str(exc))
        return exc.code
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # otherwise the flush at exit would fail
        return Code.DONE
    except (LookupError, TypeError, ValueError) as exc:
        warn(f"the answer is not understood ({type(exc).__name__}: {printable(exc)}); is it another version?")
        return Code.FAILED


def _escape_unencodable() -> None:
    """Let output escape characters that the terminal's encoding lacks, instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
