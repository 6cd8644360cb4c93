"""What a drain in the keeper waits for in one worker."""

from lb.core.drain import Drain


class AwaitedWorker:
    """One worker that may still run requests on a backend that drains (`lb.core.backend.Running`).

    `batch` is the number of the batch that tells it of the drain, None before that is sent.
    """

    def __init__(self, drain: Drain) -> None:
        self.drain = drain
        self.batch: int | None = None

    def cut(self) -> None:
        """Nothing to be done here: the worker is told by the state of the backend."""

    def told(self, batch: int) -> None:
        """This batch, which is sent, tells the worker of the drain."""
        if self.batch is None:
            self.batch = batch
