"""What a trial on a Hugging Face `Trainer` depends on, as a hash."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def version_of(arguments: Mapping[str, Any], sources: Iterable[Path], libraries: Sequence[str]) -> str:
    """Of the trainer's arguments (of models their folders' names, wherever they lie), its own sources and those shared
    here, and the libraries' versions."""
    named = {size: Path(path).name for size, path in arguments["models"].items()}
    files = [*sorted(sources), *sorted(Path(__file__).parent.glob("*.py"))]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in libraries]
    content = json.dumps([{**arguments, "models": named}, versions], sort_keys=True, default=str)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + content.encode()).hexdigest()[:12]
