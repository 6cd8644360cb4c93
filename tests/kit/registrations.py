"""What services register in etcd behind the back of a follower, and whether what it tells is true."""

from collections.abc import Callable, Mapping

import trio

from tests.kit.etcd_servers import EtcdServers

PATIENCE = 30.0


class Registrations:
    """It changes keys with etcdctl, and knows every state in which they have been."""

    def __init__(self, etcd: EtcdServers, user: str = "") -> None:
        self.etcd = etcd
        self.at = 0
        """Which server is asked."""
        self.now: dict[str, str] = {}
        self.states = [dict[str, str]()]
        self._user = user

    async def put(self, key: str, value: str) -> None:
        self.states.append(self.now | {key: value})  # it may be seen before etcdctl has ended
        await self.etcd.ctl("put", key, value, at=self.at, user=self._user)
        self.now = self.states[-1]

    async def delete(self, key: str) -> None:
        self.states.append({name: value for name, value in self.now.items() if name != key})
        await self.etcd.ctl("del", key, at=self.at, user=self._user)
        self.now = self.states[-1]

    async def compact(self) -> None:
        """Forget all revisions but the newest."""
        status = await self.etcd.ctl("endpoint", "status", "-w=fields", at=self.at, user=self._user)
        revision = next(line for line in status.splitlines() if line.startswith('"Revision"'))
        await self.etcd.ctl("compaction", revision.split(": ")[1], at=self.at, user=self._user)


class Listener:
    """It is told what there is: always a state that there was, and none from before the last."""

    def __init__(self, registrations: Registrations) -> None:
        self.truth = registrations
        self.heard: list[dict[str, str]] = []
        self._at = 0
        self._has_heard = trio.Event()

    def hears(self, keys: Mapping[str, str]) -> None:
        states = self.truth.states
        found = next((at for at in range(self._at, len(states)) if states[at] == keys), None)
        assert found is not None, f"there was no such state: {keys}"
        self._at = found
        self.heard.append({**keys})
        self._has_heard.set()

    async def until(self, is_so: Callable[[], bool], patience: float = PATIENCE) -> None:
        with trio.move_on_after(patience):
            while not is_so():
                self._has_heard = trio.Event()
                await self._has_heard.wait()
            return
        raise AssertionError(f"it has heard {self.heard[-1:]}, and there is {self.truth.now}")

    async def is_right(self, patience: float = PATIENCE) -> None:
        """Wait until it has heard what there is now."""
        await self.until(lambda: self.heard[-1:] == [self.truth.now], patience)
