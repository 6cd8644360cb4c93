"""A certificate is swapped again and again under requests: nobody fails, neither new clients nor old ones."""

import os
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.system.program import Program, program
from tests.system.secure import Front, Returning, Rush, shown
from tests.system.upgrades import backend

SWAPS = int(os.environ.get("SWAPS", "10"))
IS_LONG = SWAPS > 10
LEAST_A_SECOND = 500 if IS_LONG else 5
"""Requests. Many swaps are asked for by a recipe of their own, on a machine that does nothing else."""
NEW, STAYING, KEPT = 2, 6, 1000
"""Clients that shake hands every few requests, clients that stay, and how many requests these send on one."""


@pytest.mark.parametrize("workers", [1, 2])
async def test_nobody_fails_while_certificates_are_swapped(workers: int, tmp_path: Path) -> None:
    async with backend() as port:
        front = Front(tmp_path, port)
        async with program(*front.flags, "--set", f"workers={workers}", listen=None) as lb:
            await _swapped_again_and_again(lb, front, workers)


async def _swapped_again_and_again(lb: Program, front: Front, workers: int) -> None:
    rush, returning = Rush(lb, front), Returning(lb, front)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rush.run, NEW)
        nursery.start_soon(partial(rush.run, kept=KEPT), STAYING)
        nursery.start_soon(returning.run)
        began = trio.current_time()
        for _ in range(SWAPS):
            serial = front.issue().certificate.serial_number
            await lb.api("POST", "/config/reload")
            assert await shown(lb, front, 2) == {serial}
        seconds = trio.current_time() - began
        rush.is_over = returning.is_over = True
    assert rush.failures == returning.failures == [], lb.said.decode()
    assert rush.done.total() > LEAST_A_SECOND * seconds, (rush.done.total(), seconds)
    assert len(rush.done) > SWAPS // 2, "new clients were shown most of them"
    assert returning.resumed[True], "a session outlives a swap"
    if workers == 1:
        assert returning.resumed[False] == 1
    assert b"Traceback" not in lb.said
    if IS_LONG:
        print(workers, "workers", rush.done.total() / seconds, "a second", seconds, "s", returning.resumed)
