"""Check the links of a web site: crawl it from one address, and say which of its links lead nowhere.

This program was written for ThreadPoolExecutor. Only one line, the import, was changed for pyants.

    python examples/check_links.py http://localhost:8000/
"""

from __future__ import annotations

import sys
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from html.parser import HTMLParser
from urllib.error import HTTPError, URLError
from urllib.parse import urldefrag, urljoin
from urllib.request import urlopen

from pyants import PoolExecutor as ThreadPoolExecutor  # before: from concurrent.futures import ThreadPoolExecutor

WORKERS = 16
TIMEOUT = 10  # seconds that a server may take


@dataclass
class Page:
    """What became of an address."""

    problem: str | None = None
    links: frozenset[str] = frozenset()


class Links(HTMLParser):
    """The addresses that a page links to."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.found: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        wanted = {"a": "href", "img": "src", "link": "href", "script": "src"}.get(tag)
        for name, value in attrs:
            if name == wanted and value:
                self.found.add(urldefrag(urljoin(self.address, value)).url)


def load(address: str, *, read: bool) -> Page:
    """Asks for an address; with `read`, for its links too."""
    try:
        with urlopen(address, timeout=TIMEOUT) as answer:
            if not read or answer.headers.get_content_type() != "text/html":
                return Page()
            parser = Links(address)
            parser.feed(answer.read().decode("utf-8", "replace"))
    except HTTPError as error:
        error.close()
        return Page(problem=f"{error.code} {error.reason}")
    except URLError as error:
        return Page(problem=str(error.reason))
    return Page(links=frozenset(link for link in parser.found if link.startswith("http")))


def crawl(root: str) -> tuple[dict[str, Page], dict[str, str]]:
    """Every address that can be reached, and the page where it was seen first."""
    pages: dict[str, Page] = {}
    seen_on = {root: "the command line"}
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="crawler") as executor:
        pending: dict[Future[Page], str] = {executor.submit(load, root, read=True): root}
        while pending:
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                address = pending.pop(future)
                pages[address] = future.result()
                for link in pages[address].links - seen_on.keys():
                    seen_on[link] = address
                    # Pages of other sites are requested, but their links are not followed.
                    pending[executor.submit(load, link, read=link.startswith(root))] = link
    return pages, seen_on


def main() -> int:
    pages, seen_on = crawl(sys.argv[1])
    broken = sorted(address for address, page in pages.items() if page.problem)
    for address in broken:
        print(f"{address}: {pages[address].problem}, linked from {seen_on[address]}")
    links = sum(len(page.links) for page in pages.values())
    print(f"{len(pages)} addresses, {links} links, {len(broken)} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
