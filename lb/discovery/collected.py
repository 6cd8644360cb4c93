"""A set while it is put together: each entry is judged alone, so that one of no use costs no other."""

from hashlib import sha256

import msgspec

from lb.core.announced import Announced, Announcement
from lb.settings.backend_spec import ID, BackendSpec

LONGEST_ID = 128
UNREADABLE = (msgspec.DecodeError, UnicodeError, RecursionError)
"""What decoding raises for bytes that are not what they should be, however odd they are."""


class Collected:
    """Announcements in their order, the first of each id, and a sentence for each that was left out."""

    def __init__(self) -> None:
        self._found: dict[str, Announcement] = {}
        self._skipped: list[str] = []

    def add(self, said: Announcement, called: str = "") -> None:
        """Take this one if it can be a backend; `called` is its name in sentences, its id if it is empty."""
        called = called or said.id
        try:
            BackendSpec(
                id=said.id,
                url=said.url,
                weight=1 if said.weight is None else said.weight,
                max_in_flight=said.max_in_flight,
                max_connections=said.max_connections,
            ).checked()
        except ValueError as exc:
            self.skip(f"{called}: {exc}")
            return
        if said.id in self._found:
            self.skip(f"{called}: {self._found[said.id].url} has the id {said.id} already")
            return
        self._found[said.id] = said

    def skip(self, why: str) -> None:
        self._skipped.append(why)

    def __len__(self) -> int:
        return len(self._found)

    def set(self, next_look: float | None = None) -> Announced:
        return Announced(tuple(self._found.values()), tuple(self._skipped), next_look)

    @property
    def why_empty(self) -> str:
        """Why nothing was of use, with the first sentence; "" where there was nothing to judge."""
        if self._found or not self._skipped:
            return ""
        return f"none of its {len(self._skipped)} entries is of use: {self._skipped[0]}"


def usable_id(name: str) -> str:
    """The name as an id of a backend: itself where it can be one, otherwise like it and never another's."""
    if ID.fullmatch(name):
        return name
    mark = sha256(name.encode()).hexdigest()[:12]
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "._~-") else "-" for c in name).strip(".~-")
    return f"{plain[: LONGEST_ID - len(mark) - 1]}-{mark}" if plain else mark
