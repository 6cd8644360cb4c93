"""What a start would try beside reading the file, tried before: `lb config check`, and the start itself."""

from collections.abc import Iterator

from lb.config import state_file
from lb.config.admin_token import admin_token
from lb.settings.balancer_settings import Config


def try_start(config: Config) -> Iterator[str]:
    """Try it, and yield a note for what works but not as well as it might. It blocks.

    ConfigError, which names the key, for what would keep the program from starting.
    """
    admin_token(config.admin)
    if config.state:
        state_file.load(config.state)
        if note := state_file.try_out(config.state):
            yield f"state: {config.state}: {note}"
