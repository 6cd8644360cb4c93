"""The content of a request, as far as it is kept so that another attempt can send it again."""


class Replay:
    """What came with the head is always kept; of what follows at most `most` bytes, or nothing any more.

    `is_whole_so_far`: all content that was received is in `content`, so another attempt may be made.
    """

    __slots__ = ("_most", "content", "is_whole_so_far")

    def __init__(self, most: int, content: bytes) -> None:
        self._most = most
        self.content = content
        self.is_whole_so_far = True

    def add(self, content: bytes) -> None:
        """More content has come. To be called before it is sent, so that no attempt can lose it."""
        fits = self.is_whole_so_far and len(self.content) + len(content) <= self._most
        self.is_whole_so_far = fits
        self.content = self.content + content if fits else b""

    def has_room_for(self, count: int) -> bool:
        """So many more bytes could be kept."""
        return self.is_whole_so_far and len(self.content) + count <= self._most

    def give_up(self) -> None:
        """Content passes that is not kept."""
        self.is_whole_so_far, self.content = False, b""
