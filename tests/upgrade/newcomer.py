"""A new program that a test has made up: it hears the offer, and then does what its first argument says."""

import os
import signal
import sys

import trio

from lb.upgrade.handover_channel import Channel
from lb.upgrade.handover_messages import Offer, Ready, Replaced, Serving, TakeOver


async def main(does: str, folder: str) -> None:
    channel = Channel.of_environment()
    offer = await channel.hear(Offer)
    ready = Ready(program="9.9", pid=os.getpid(), taken=tuple(each.address for each in offer.listeners))
    match does:
        case "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        case "serves at once":
            await channel.send(Serving())
        case "never serves":
            await channel.send(ready)
        case "ends when it is to serve":
            await channel.send(ready)
            await channel.hear(TakeOver)
            sys.exit(3)
        case "takes over":
            number = len(os.listdir(folder))
            await trio.Path(folder, f"offered {number}").touch()
            while not await trio.Path(folder, "go").exists():  # noqa: ASYNC110 - a file tells nobody
                await trio.sleep(0.01)
            await channel.send(ready)
            await channel.hear(TakeOver)
            await channel.send(Serving())
            await channel.hear(Replaced)
            sys.exit(0)
    await trio.sleep_forever()


trio.run(main, sys.argv[1], sys.argv[2])
