"""What one exchange holds for its client: a request's body (`gather`), or a response (`read_ahead`)."""

from lb.core.held import Held, Share


class Holding:
    """Made when there may be something to hold, which few exchanges need. `run` closes it.

    `is_held_up`, while the response is read ahead: there is no room, so the backend waits for the client.
    """

    __slots__ = ("_all", "is_held_up", "request", "response")

    def __init__(self, everything: Held) -> None:
        self._all = everything
        self.request: Share | None = None
        """The room of a body that is received whole before a backend is chosen."""
        self.response: Share | None = None
        """The bytes of the response that are held for a slow client."""
        self.is_held_up: bool | None = None

    def share(self, most: int) -> Share:
        """A share of this exchange, for the request or the response."""
        return Share(self._all, most)

    def close(self) -> int:
        """Nothing is held any more. Returns the most bytes of the response that were held at once."""
        if self.request is not None:
            self.request.close()
        if self.response is None:
            return 0
        self.response.close()
        return self.response.peak
