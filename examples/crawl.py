"""Tasks that submit tasks, on a bounded pool: a crawler that neither hangs nor loses a link.

If each page's task called submit() for the pages that it links to, all workers would soon be blocked, waiting for
permits that only they could free: one of them would get PoolDeadlockError, and its links would be lost. So they call
try_submit(), which never blocks, and visit the pages themselves that the pool does not accept, offering the rest again
after each page. No task blocks, and nothing is lost.
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
            # Submit all pages that the pool accepts except one, for this worker, which would be idle otherwise.
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
