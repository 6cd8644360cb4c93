"""Conditional requests (RFC 9110 section 13): revisions are entity tags, and nobody has to use them."""

from quart import Request

from admin.protocol.problems import Problem


def etag(revision: int) -> str:
    """A strong tag. It stands for what an operator can change; numbers that merely move do not change it."""
    return f'"{revision}"'


def check(request: Request, revision: int | None) -> None:
    """412 unless If-Match and If-None-Match allow a change of what is at this revision, None: not there."""
    wanted, unwanted = _tags(request, "If-Match"), _tags(request, "If-None-Match")
    if wanted and not _matches(wanted, revision):
        raise Problem("precondition-failed", _now(revision))
    if unwanted and _matches(unwanted, revision):
        raise Problem("precondition-failed", _now(revision))


def is_known(request: Request, revision: int) -> bool:
    """The client has this revision already, so 304 says it all."""
    tags = {tag.removeprefix("W/") for tag in _tags(request, "If-None-Match")}
    return _matches(tags, revision)


def _tags(request: Request, name: str) -> set[str]:
    return {tag.strip() for tag in request.headers.get(name, "").split(",")} - {""}


def _matches(tags: set[str], revision: int | None) -> bool:
    return revision is not None and ("*" in tags or etag(revision) in tags)


def _now(revision: int | None) -> str:
    return "it does not exist" if revision is None else f"it is at revision {revision}"
