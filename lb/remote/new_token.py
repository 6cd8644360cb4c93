"""`lb token new`: a token for the operator's side, and the line that lets it in."""

import re
import secrets

from lb.config.token_scope import Scope
from lb.config.tokens import TAKEN_NAMES, digest
from lb.remote.exits import Code, Failed
from lb.remote.terminal_text import say, warn

NAME = re.compile(r"[\w.@~-]{1,64}", re.ASCII)
BYTES = 32


def new_token(name: str, scope: str) -> int:
    """Print the line of the tokens file to stdout, which holds no secret, and the token to stderr."""
    if not NAME.fullmatch(name) or name in TAKEN_NAMES:
        raise Failed(f"{name!r} is not a name of letters, digits and . @ ~ - _, 64 at most", Code.MISUSED)
    token = secrets.token_urlsafe(BYTES)
    say(f"{name}  {Scope(scope)}  sha256:{digest(token).hex()}")
    warn(f"the token of {name}, shown this once: {token}")
    return Code.DONE
