"""Tasks that submit tasks, on a pool with a bound: a crawler that neither hangs nor loses a link.

Were each page's task to submit() the pages that it links to, all workers would soon wait for room that only they could
make: one of them would be told of the deadlock, and its links be lost. So they ask with try_submit(), which never
waits, and what there is no room for they visit themselves, offering the rest again after each page. Nobody waits, and
nothing is lost.
"""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING

import pyants

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class Crawler:
    """Visits every page that can be reached from one, each once."""

    def __init__(self, links_of: Callable[[int], Iterable[int]]) -> None:
        self.links_of = links_of
        self.lock = threading.Lock()
        self.seen: set[int] = set()
        self.failed: dict[int, Exception] = {}

    def crawl(self, root: int, pool: pyants.Pool) -> None:
        self.seen.add(root)
        with pool.group() as self.group:
            self.group.submit(self.visit, root)

    def visit(self, page: int) -> None:
        todo = collections.deque([page])
        while todo:
            page = todo.popleft()
            try:
                todo.extend(self.new(self.links_of(page)))
            except Exception as error:  # noqa: BLE001 - or the rest of todo would be lost with it
                self.failed[page] = error
            # What there is room for goes to others, but one page: that is for this worker, which would be idle else.
            while len(todo) > 1 and self.group.try_submit(self.visit, todo[-1]) is not None:
                todo.pop()

    def new(self, links: Iterable[int]) -> set[int]:
        found = set(links)
        with self.lock:
            found -= self.seen
            self.seen |= found
        return found


def links_of(page: int) -> Iterable[int]:
    """A web of 10,000 pages, each with links to 40 others."""
    if page % 1000 == 999:
        raise ConnectionError(f"page {page} does not answer")
    return ((page * 40 + number) % 10_000 for number in range(1, 41))


def main() -> None:
    with pyants.Pool(8, queue_size=32) as pool:
        crawler = Crawler(links_of)
        crawler.crawl(0, pool)
        stats = pool.stats()
    print(f"pages: {len(crawler.seen)}, without an answer: {len(crawler.failed)}")
    print(f"tasks: {stats.submitted}, at most {stats.peak_running} workers, failed: {stats.failed}")


if __name__ == "__main__":
    main()
