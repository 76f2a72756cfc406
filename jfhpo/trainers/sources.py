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
ROOMS = ("trainers", "tasks")
"""The rest of the project is nouns and protocols, or does not run where trials do."""


def sources(module: str) -> list[Path]:
    """Files of a module and of those of trainers and tasks that it imports, directly or not, at its top or inside a
    function, or that it names to start them as a process; sorted."""
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        path = _file(waiting.pop())
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
    """The file of a module of `ROOMS`; None for any other name."""
    top, *rest = module.split(".")
    if top != jfhpo.__name__ or not rest or rest[0] not in ROOMS:
        return None
    path = ROOT.joinpath(*rest)
    for file in (path / "__init__.py", path.with_suffix(".py")):
        if file.is_file():
            return file
    return None


def _named(path: Path) -> Iterator[str]:
    """Names in a source that may be modules, and the packages that these lie in."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            names = [node.value.removeprefix("pkg://").partition(":")[0]]  # verl's form, and ``module:Class``
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))
