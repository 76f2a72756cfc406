"""The table of methods: every `Optimizer` with a name in `jfhpo.method` and `baselines`, found, not listed."""

from __future__ import annotations

import ast
import dataclasses
import functools
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Setting:
    name: str
    default: object
    meaning: str


def about(cls: type[Optimizer]) -> str:
    """What a method's file says of it."""
    return inspect.cleandoc(sys.modules[cls.__module__].__doc__ or f"{cls.__name__}: its file says nothing of it.")


def settings_of(cls: type[Optimizer]) -> list[Setting]:
    """A method's settings in their order, with what is written below each."""
    lines = ast.parse(inspect.cleandoc(inspect.getsource(cls.Settings))).body[0].body
    meanings = {
        field.target.id: " ".join(ast.literal_eval(below.value).split())
        for field, below in itertools.pairwise(lines)
        if isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr)
    }
    return [Setting(f.name, f.default, meanings.get(f.name, "")) for f in dataclasses.fields(cls.Settings)]


def method(name: str) -> type[Optimizer]:
    if name not in methods():
        raise unknown("method", name, methods())
    return methods()[name]
