"""Refuses interpreters other than the main one, and keeps the modules for a second import. Imported first."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import ModuleType


def _refuse_others() -> None:
    """Raises ImportError in any interpreter but the main one."""
    try:
        from _interpreters import get_current, get_main  # type: ignore[import-not-found] # CPython 3.13 and later
    except ImportError:
        try:
            from _xxsubinterpreters import get_current, get_main  # type: ignore[import-not-found]
        except ImportError:
            return  # The native module checks too, but CPython may refuse that first, with a message of its own.
    if get_current() != get_main():
        raise ImportError(
            "pyants works in the main interpreter only: its pools and their threads belong to the process, and would"
            " not end with another interpreter"
        )


_refuse_others()

from pyants import _core  # noqa: E402

# Reloaders and test runners remove packages from sys.modules and import them again. Pools keep running meanwhile, and
# their users keep the classes of the first import. So each later import finds the first one's modules and classes.
sys.modules.update(_core._modules)


def keep(package: ModuleType) -> None:
    """Keeps the modules of the package for a later import; called when they have been imported."""
    prefix = package.__name__ + "."
    _core._modules.update({name: module for name, module in sys.modules.items() if name.startswith(prefix)})
    for name, module in _core._modules.items():
        setattr(package, name.removeprefix(prefix), module)
