"""Which of the project's sources decide what a trial turns out to be: a trainer's own, and all that it imports.

They are found, not listed: a list would be out of date with the next import, and checkpoints of other code would go on
being used.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

import jfhpo

ROOT = Path(jfhpo.__file__).parent
NOUNS = "core"
"""The package that is left out: what it holds are names for what is asked and told."""


def sources(module: str) -> list[Path]:
    """Files of a module and of those of the project that it imports, directly or not, at its top or inside a function,
    or that it names to start them as a process; sorted. Those of `NOUNS` are not among them."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        for name in _with_packages(waiting.pop()):
            path = _file(name)
            if path is not None and path not in found:
                found.add(path)
                waiting += _named(path)
    return sorted(found)


def source_digest(module: str) -> str:
    """SHA-256 in hex of the `sources` of a module, wherever the project lies."""
    return _digest(module, ROOT)


@functools.cache
def _digest(module: str, root: Path) -> str:
    digest = hashlib.sha256()
    for path in sources(module):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\0".encode() + content)
    return digest.hexdigest()


def _file(module: str) -> Path | None:
    """The file of a module of the project; None for any other name."""
    top, *rest = module.split(".")
    if top != jfhpo.__name__ or not rest or rest[0] == NOUNS or not all(map(str.isidentifier, rest)):
        return None
    path = ROOT.joinpath(*rest)
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _named(path: Path) -> Iterator[str]:
    """Names in a source that may be modules."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.removeprefix("pkg://").partition(":")[0]  # verl's form, and ``module:Class``


def _with_packages(module: str) -> Iterator[str]:
    """The name and those of the packages that it lies in."""
    parts = module.split(".")
    return (".".join(parts[:end]) for end in range(1, len(parts) + 1))
