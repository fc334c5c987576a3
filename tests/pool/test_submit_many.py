"""submit_many and invoke_many: one call for many tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from support import KINDS, Background, Face, Gate, Kind, Sum, nap, wait_equal

from pyants import Pool, PoolClosedError, PoolDeadlockError, PoolError, PoolOverloadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def submitted(error: PoolError) -> int:
    """How many tasks had been accepted before the refusal."""
    count: object = vars(error)["submitted"]
    assert isinstance(count, int)
    return count


@pytest.mark.parametrize("queue_size", [0, 5, None])
@pytest.mark.parametrize("kind", KINDS)
def test_each_item_is_a_task(kind: Kind, queue_size: int | None) -> None:
    total = Sum()
    face = Face(kind, 3, lambda item: total.add(int(str(item))), queue_size=queue_size)
    with face.pool as pool:
        assert face.put_many(range(500)) == 500
        assert pool.wait_idle(30)
        assert pool.stats().completed == 500
    assert total.value == sum(range(500))


@pytest.mark.parametrize("kind", KINDS)
def test_no_items(kind: Kind) -> None:
    with Face(kind, 3, nap).pool as pool:
        assert pool.running() == 0
    face = Face(kind, 3, nap)
    with face.pool:
        empties: list[Iterable[object]] = [[], (), {}, "", iter(())]
        for empty in empties:
            assert face.put_many(empty) == 0
        assert face.pool.stats().submitted == 0


def test_anything_iterable_will_do() -> None:
    seen: list[object] = []

    class Sequence:
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise IndexError
            return index

    with Pool(1, queue_size=None) as pool:
        assert pool.submit_many(seen.append, [1, 2]) == 2
        assert pool.submit_many(seen.append, (number for number in range(2))) == 2
        assert pool.submit_many(seen.append, "ab") == 2
        assert pool.submit_many(seen.append, {"key": "value"}) == 1
        assert pool.submit_many(seen.append, cast("list[object]", Sequence())) == 3
        # A tuple is one argument.
        assert pool.submit_many(seen.append, [(1, 2)]) == 1
    assert seen == [1, 2, 0, 1, "a", "b", "key", 0, 1, 2, (1, 2)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_tells_how_many_came_in(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 3, gate.hold, nonblocking=True)
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with face.pool as pool, gate:
        with pytest.raises(PoolOverloadError) as caught:
            face.put_many(items())
        assert submitted(caught.value) == 3
        # Of the items not submitted, only the refused one was taken from the iterable.
        assert taken == [0, 1, 2, 3]
        assert pool.stats().submitted == 3
        with pytest.raises(PoolOverloadError) as caught:
            face.put_many([1])
        assert submitted(caught.value) == 0
    with pytest.raises(PoolClosedError) as closed:
        face.put_many([1])
    assert submitted(closed.value) == 0
    assert gate.entered == 3


@pytest.mark.parametrize("kind", KINDS)
def test_the_iterable_is_read_only_as_tasks_are_accepted(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    taken = Sum()

    def items() -> Iterator[int]:
        for number in range(5):
            taken.add()
            yield number

    with face.pool as pool, gate:
        many = Background(lambda: face.put_many(items()))
        for waiting in (3, 4, 5):
            # The submitter is blocked, with one item taken.
            wait_equal(pool.waiting, 1)
            wait_equal(lambda: taken.value, waiting)
            gate.let(1)
        assert many.result() == 5


@pytest.mark.parametrize("kind", KINDS)
def test_release_in_the_middle(kind: Kind) -> None:
    gate = Gate()
    face = Face(kind, 2, gate.hold)
    with face.pool as pool, gate:
        many = Background(lambda: face.put_many(range(10)))
        wait_equal(pool.waiting, 1)
        pool.release()
        with pytest.raises(PoolClosedError) as caught:
            many.result()
        assert submitted(caught.value) == 2
    assert gate.entered == 2


@pytest.mark.parametrize("kind", KINDS)
def test_an_exception_of_the_iterable_is_passed_on_and_accepted_tasks_run(kind: Kind) -> None:
    done = Sum()

    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise ZeroDivisionError("from the iterable")

    face = Face(kind, 2, lambda _: done.add())
    with face.pool as pool:
        with pytest.raises(ZeroDivisionError, match="from the iterable"):
            face.put_many(items())
        assert pool.wait_idle(10)
        assert done.value == 2
        assert pool.stats().submitted == 2


def test_the_iterable_may_use_the_pool() -> None:
    seen: list[object] = []
    with Pool(1, queue_size=None) as pool:

        def items() -> Iterator[int]:
            for number in range(3):
                pool.submit(seen.append, "inner")
                yield number

        assert pool.submit_many(seen.append, items()) == 3
    assert seen == ["inner", 0, "inner", 1, "inner", 2]


def test_the_iterable_may_close_the_pool() -> None:
    seen: list[object] = []
    with Pool(1) as pool:

        def items() -> Iterator[int]:
            yield 0
            pool.release()
            yield 1

        with pytest.raises(PoolClosedError) as caught:
            pool.submit_many(seen.append, items())
        assert submitted(caught.value) == 1
    assert seen == [0]


def test_a_task_may_submit_many() -> None:
    seen = Sum()
    with Pool(2) as pool:
        pool.submit(lambda: pool.submit_many(seen.add, [1] * 50))
        assert pool.wait_idle(10)
    assert seen.value == 50


@pytest.mark.ants("D20")
def test_a_task_that_cannot_be_served_is_told_how_many_came_in() -> None:
    errors: list[BaseException] = []
    with Pool(1, queue_size=2, panic_handler=errors.append) as pool:
        pool.submit(lambda: pool.submit_many(nap, [0.001] * 50))
        assert pool.wait_idle(10)
    (error,) = errors
    assert isinstance(error, PoolDeadlockError)
    assert submitted(error) == 2


def test_many_threads_submit_many() -> None:
    total = Sum()
    with Pool(4, queue_size=50) as pool:
        submitters = [Background(lambda: pool.submit_many(total.add, range(400))) for _ in range(6)]
        assert [submitter.result() for submitter in submitters] == [400] * 6
    assert total.value == 6 * sum(range(400))
