"""When the authority would like a certificate to be renewed (ARI, RFC 9773 section 4)."""

from datetime import UTC, datetime
from typing import NamedTuple

from lb.acme.acme_errors import Nonsense
from lb.acme.directory import Directory
from lb.acme.fetching import text_in
from lb.core.renewal import Window


class Told(NamedTuple):
    """The window, None where the authority tells none; and for how many seconds it is good, if it says so."""

    window: Window | None
    seconds: float | None


async def told_window(directory: Directory, certificate_id: str) -> Told:
    """Ask for the window of this certificate; an AcmeError where the authority does not say."""
    resources = await directory.resources()
    if not resources.renewal_info or not certificate_id:
        return Told(None, None)
    reply = await directory.get(f"{resources.renewal_info.rstrip('/')}/{certificate_id}")
    window = reply.table().get("suggestedWindow")
    if not isinstance(window, dict):
        raise Nonsense(f"{directory.authority} answers without `suggestedWindow`, which RFC 9773 asks for")
    starts, ends = (
        _instant(text_in(window, key, directory.authority), directory) for key in ("start", "end")
    )
    return Told(Window(starts, ends), directory.hold(reply))


def _instant(text: str, directory: Directory) -> float:
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as exc:
        raise Nonsense(f"{directory.authority} answers a window with a time that is none") from exc
