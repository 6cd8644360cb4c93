"""The content of a request that is kept, so that another attempt can send it again."""


class Replay:
    """Keeps the content that came with the head, and more as long as all of it is at most `most` bytes.

    Beyond that nothing is kept. `is_whole_so_far`: `content` is all that was received, so another attempt may
    be made.
    """

    __slots__ = ("_most", "content", "is_whole_so_far")

    def __init__(self, most: int, content: bytes) -> None:
        self._most = most
        self.content = content
        self.is_whole_so_far = True

    def keep_up_to(self, most: int) -> None:
        """Keep this many bytes, if that is more than before. While `is_whole_so_far`."""
        self._most = max(self._most, most)

    def add(self, content: bytes) -> None:
        """Keep content that was received, or drop everything. To be called before it is sent to a backend."""
        fits = self.is_whole_so_far and len(self.content) + len(content) <= self._most
        self.is_whole_so_far = fits
        self.content = self.content + content if fits else b""

    def has_room_for(self, count: int) -> bool:
        """`count` more bytes can be kept."""
        return self.is_whole_so_far and len(self.content) + count <= self._most

    def give_up(self) -> None:
        """Drop everything: content is spliced, which cannot be kept."""
        self.is_whole_so_far, self.content = False, b""
