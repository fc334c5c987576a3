"""Registers the markers of plugins that may be missing, and keeps the garbage collector fast."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "thread_unsafe(reason): not to be run in several threads at once")


def pytest_collection_finish() -> None:
    # Many tests collect garbage. pytest's own objects are many by now, and never garbage: without them a collection is
    # much faster.
    gc.collect()
    gc.freeze()
