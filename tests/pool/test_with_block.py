"""At the end of a with block every task is done, and every worker has left."""

from __future__ import annotations

import threading

import pytest
from support import KINDS, Face, Kind, Sum, nap, wait_gone

from pyants import Pool, PoolClosedError


@pytest.mark.parametrize("kind", KINDS)
def test_a_with_block_ends_when_every_task_is_done_and_every_worker_has_left(kind: Kind) -> None:
    ids: list[int] = []

    def task(_: object) -> None:
        nap(0.005)
        ids.append(threading.get_native_id())

    face = Face(kind, 3, task, queue_size=10)
    with face.pool as pool:
        assert pool is face.pool
        for _ in range(13):
            face.put(None)
    assert len(ids) == 13
    assert pool.is_closed()
    assert pool.running() == 0
    wait_gone(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_a_with_block_lets_its_exception_through(kind: Kind) -> None:
    done = Sum()
    face = Face(kind, 1, lambda _: done.add())

    def block() -> None:
        with face.pool:
            face.put(None)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        block()
    assert face.pool.is_closed()
    assert done.value == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_closed_in_its_with_block_is_waited_for_all_the_same(kind: Kind) -> None:
    done = Sum()

    def task(_: object) -> None:
        nap(0.02)
        done.add()

    face = Face(kind, 2, task)
    with face.pool as pool:
        face.put(None)
        pool.release()
    assert done.value == 1
    assert pool.running() == 0


def test_a_closed_pool_in_a_with_block() -> None:
    pool = Pool(1)
    pool.release()
    with pool, pytest.raises(PoolClosedError):
        pool.submit(nap)
    assert pool.is_closed()
