"""The program: `lb`, or `python -m lb`."""

import sys

from lb.early_signals import keep_for_a_run

keep_for_a_run()  # before the imports that take long

from lb.cli import main  # noqa: E402

if __name__ == "__main__":
    sys.exit(main())
