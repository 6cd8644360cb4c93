"""What can go wrong with etcd, told apart by what may be done about it."""

UNAUTHENTICATED = 16
OUT_OF_RANGE = 11
MAY_PASS = frozenset((1, 2, 4, 8, 10, 13, 14))
"""gRPC's codes after which another endpoint, or the same one a little later, may answer."""
STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")


class EtcdFailed(Exception):
    """etcd gave no answer of use: a sentence that names the endpoint, and holds no secret and no value."""


class NoAnswer(EtcdFailed):
    """An endpoint was not reached, did not answer in time, or has no leader; another one may answer.

    `is_undone` where it is known that it has not done what it was asked.
    """

    def __init__(self, sentence: str, *, is_undone: bool = False) -> None:
        super().__init__(sentence)
        self.is_undone = is_undone


class Refused(EtcdFailed):
    """etcd has answered that it does not. Nothing was changed. `code` is that of gRPC."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code

    @property
    def is_compacted(self) -> bool:
        """The revision that was asked for is no longer there."""
        return self.code == OUT_OF_RANGE


class StaleToken(Refused):
    """What showed who we are is of no use any more, or we have shown nothing yet."""


class WatchEnded(EtcdFailed):
    """A watch tells nothing more, whatever its connection says. The keys have to be listed again.

    `reason` is a word for counting: canceled, compacted, broken, behind, unseen, routine.
    """

    def __init__(self, sentence: str, reason: str) -> None:
        super().__init__(sentence)
        self.reason = reason


class LeaseLost(EtcdFailed):
    """etcd knows no such lease any more; what hung on it is gone."""


class AnotherEtcd(EtcdFailed):
    """It is not the etcd that was followed: its data were wiped or restored, or it is another cluster.

    `cluster_id` and `revision` say which one it is.
    """

    def __init__(self, sentence: str, cluster_id: int, revision: int) -> None:
        super().__init__(sentence)
        self.cluster_id = cluster_id
        self.revision = revision


def refusal(where: str, message: str, code: int) -> EtcdFailed:
    """The error for what an endpoint has answered instead."""
    sentence = f"{where}: {message or f'it refused with code {code}'}"
    if code == UNAUTHENTICATED or any(words in message for words in STALE_TOKEN):
        return StaleToken(sentence, code)
    return NoAnswer(sentence) if code in MAY_PASS else Refused(sentence, code)
