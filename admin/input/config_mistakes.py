"""What is wrong with a configuration, or with the files that it names, as an answer."""

import msgspec

from admin.input.pool_input import mistake_of
from admin.protocol.problems import MAX_MISTAKES, Problem, invalid
from lb.config.spoken_keys import LINE
from lb.errors import ConfigError


def of_config(error: ConfigError) -> Problem:
    """422 with each mistake and its place, or with one sentence where no single key is to blame."""
    if not error.mistakes:
        return Problem("validation", str(error))
    places = zip(error.mistakes[:MAX_MISTAKES], error.told, strict=False)
    mistakes = [msgspec.structs.replace(mistake_of(each), line=_line(told)) for each, told in places]
    problem = invalid(*mistakes, untold=len(error.mistakes) - len(mistakes))
    problem.detail = str(error).partition("\n")[0]
    return problem


def _line(told: str) -> int | None:
    found = LINE.match(told)
    return int(found[1]) if found else None
