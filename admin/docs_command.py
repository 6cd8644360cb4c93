"""`lb docs`: the reference in a terminal, through a pager where it is longer than that."""

import os
import shlex
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

from admin.reference.reference_book import ReferenceBook
from lb.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from admin.protocol.operation import Operation

OK = 0
PAGER = "less -FRX"


def docs(*topic: str) -> int:
    """Show the reference: every key, metric, event, alert, error, field, operation and command.

    Parameters
    ----------
    topic
        What to show, such as config, pools.probe, LbDown or GET /backends; without it, what there is.
    """
    book = ReferenceBook(_operations)
    try:
        _show(book.look_up(" ".join(topic)) if topic else book.contents())
    except LookupError as exc:
        raise ConfigError(f"docs: {exc.args[0]}") from None
    return OK


def _operations() -> "Sequence[Operation]":
    from admin.application import operations
    from admin.reference.no_balancer import no_balancer

    return operations(no_balancer())


def _show(text: str) -> None:
    """On a terminal a text that is longer than it goes through PAGER, or less; otherwise it is printed."""
    if sys.stdout.isatty() and text.count("\n") >= shutil.get_terminal_size().lines:
        try:
            subprocess.run(shlex.split(os.environ.get("PAGER") or PAGER), input=text.encode(), check=False)
            return
        except OSError:  # there is no such program
            pass
    sys.stdout.write(text)
