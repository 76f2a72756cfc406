"""The table of methods: every `Optimizer` with a name in `jfhpo.method` and `baselines`, found, not listed."""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import baselines
import jfhpo.method
from jfhpo.core.errors import unknown
from jfhpo.core.optimizer import Optimizer

NAMED = re.compile(r"^ +name\b.*= ['\"]", re.MULTILINE)
"""What a class body with a method's name looks like."""


@functools.cache
def methods() -> dict[str, type[Optimizer]]:
    """Name -> class."""
    found: dict[str, type[Optimizer]] = {}
    for package in (jfhpo.method, baselines):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            # Modules without a method (the surrogate's, say) import heavy libraries, which a list of names need not.
            if not NAMED.search(Path(module.module_finder.find_spec(module.name).origin).read_text("utf-8")):
                continue
            for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(cls, Optimizer) and cls.__module__ == module.name and "name" in vars(cls):
                    if cls.name in found:
                        raise RuntimeError(f"two methods are called {cls.name}: {found[cls.name]} and {cls}")
                    found[cls.name] = cls
    return found


def method(name: str) -> type[Optimizer]:
    if name not in methods():
        raise unknown("method", name, methods())
    return methods()[name]
