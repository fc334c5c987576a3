"""Several pools behind one front: release and reboot, and tasks of one pool that wait for another."""

from __future__ import annotations

import re
import time

import pytest
from support import Gate, Sum, nap, wait_equal, wait_gone

from pyants import (
    MultiPool,
    PoolClosedError,
    PoolDeadlockError,
    PoolTimeoutError,
)


@pytest.mark.ants("B90")
def test_the_pools_are_released_all_at_once() -> None:
    with Gate() as gate:
        pool = MultiPool(60, 1)
        for _ in range(60):
            pool.submit(gate.hold)
        start = time.monotonic()
        with pytest.raises(PoolTimeoutError):
            pool.release_timeout(0.5)
        # One after another they would take thirty seconds.
        assert 0.5 <= time.monotonic() - start < 20
        assert pool.is_closed()
    wait_equal(pool.running, 0)


@pytest.mark.ants("B92", "D11")
def test_a_release_that_times_out_names_the_pools_that_failed() -> None:
    with Gate() as gate:
        pool = MultiPool(4, 1, expiry_duration=0.01)
        for index in range(4):
            if index in (1, 3):
                pool.submit(gate.hold)
            else:
                pool.submit(nap)

        def late() -> list[str]:
            pool.reboot()
            with pytest.raises(PoolTimeoutError, match="of the pools") as caught:
                pool.release_timeout(0.05)
            return re.findall(r"\d+", str(caught.value).partition("of the pools")[2])

        # The workers of the other pools leave, which takes a while.
        wait_equal(late, ["1", "3"])


@pytest.mark.ants("B91", "B93", "B94", "B95")
def test_closed_and_rebooted() -> None:
    total = Sum()
    with MultiPool(3, 2) as pool:
        pool.reboot()
        assert not pool.is_closed()
        with Gate() as gate:
            pool.submit(gate.hold)
            with pytest.raises(PoolTimeoutError):
                pool.release_timeout(0.01)
            assert pool.is_closed()
            with pytest.raises(PoolClosedError):
                pool.release_timeout(10)
            for junk in (nap, None, 5):
                with pytest.raises(PoolClosedError):
                    pool.submit(junk)  # type: ignore[arg-type]
            pool.reboot()
            assert not pool.is_closed()
            for number in range(30):
                pool.submit(total.add, number)
        assert pool.wait_idle(10)
        assert total.value == 435


@pytest.mark.ants("D19", "B90")
def test_it_has_release_and_a_with_block_like_every_pool() -> None:
    with MultiPool(3, 1) as pool, Gate() as gate:
        for _ in range(3):
            pool.submit(gate.hold)
        gate.wait_entered(3)
        pool.release()
        assert pool.is_closed()
        assert not pool.wait_idle(0)
        gate.open()
    assert pool.running() == 0
    wait_gone(gate.ids)


@pytest.mark.ants("D20")
def test_a_task_that_could_only_wait_for_itself_is_told_so() -> None:
    seen: list[BaseException] = []
    with MultiPool(1, 1, panic_handler=seen.append) as pool:
        pool.submit(lambda: pool.submit(nap))
        assert pool.wait_idle(10)
    assert [type(error) for error in seen] == [PoolDeadlockError]
