"""Who we are to etcd: a user, and the token that etcd has given for the password.

To judge a password costs etcd the tenth of a second, so it is shown once for each token and not with each
call. A token ends by itself, with etcd's restart, and when the rights of users change. It is good at all
endpoints.
"""

from collections.abc import Callable

import trio


class Login:
    """Without a user nothing is shown. `token` is None until it is known, and "" where etcd has no users.

    `read` gives the password as it is now, which may be another one whenever it has to be shown. It blocks,
    and does not raise.
    """

    def __init__(self, user: str = "", password: str = "", read: Callable[[], str] | None = None) -> None:
        self.user = user
        self.password = password
        self._read = read
        self.token: str | None = None if user else ""

    def __repr__(self) -> str:
        return f"Login({self.user!r})"

    async def show(self) -> str:
        """The password to be shown now."""
        if self._read is not None:
            self.password = await trio.to_thread.run_sync(self._read)
        return self.password

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """What a call has to have in its head."""
        return (("Authorization", self.token),) if self.token else ()
