"""Knows the markers of plugins that need not be installed, and keeps the collector quick."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thread_unsafe(reason): not to be run in several threads at once")


def pytest_collection_finish() -> None:
    # Many tests collect garbage. What pytest holds by now is much, and never garbage: without it a collection takes a
    # small part of the time.
    gc.collect()
    gc.freeze()
