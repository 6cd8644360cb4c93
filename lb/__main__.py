"""The program: `lb`, or `python -m lb`."""

import sys
from collections.abc import Sequence

from lb.early_signals import keep_for_a_run

keep_for_a_run()  # before the imports that take long


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; the version is said without reading a command line."""
    if [*(sys.argv[1:] if arguments is None else arguments)] == ["--version"]:
        from lb.about import SAID

        sys.stdout.write(f"{SAID}\n")
        return 0
    from lb import cli

    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
