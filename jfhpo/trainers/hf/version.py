"""What a trial on a Hugging Face `Trainer` depends on, as a hash."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def version_of(arguments: Mapping[str, Any], sources: Iterable[Path], libraries: Sequence[str]) -> str:
    """Of the trainer's arguments, its own sources and those shared here, and the libraries' versions."""
    files = [*sorted(sources), *sorted(Path(__file__).parent.glob("*.py"))]
    versions = [f"{name} {importlib.metadata.version(name)}" for name in libraries]
    content = json.dumps([dict(arguments), versions], sort_keys=True, default=str)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files) + content.encode()).hexdigest()[:12]
