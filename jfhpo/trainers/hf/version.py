"""What a trial on a Hugging Face `Trainer` depends on, as a hash."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jfhpo.trainers.sources import source_digest


def version_of(arguments: Mapping[str, Any], trainer: str, libraries: Sequence[str]) -> str:
    """Of the trainer's arguments (of models their folders' names, wherever they lie), all sources that its module is
    made of, the tasks' and the order of prompts among them, and the libraries' versions."""
    named = {size: Path(path).name for size, path in arguments["models"].items()}
    versions = [f"{name} {importlib.metadata.version(name)}" for name in libraries]
    content = [{**arguments, "models": named}, source_digest(trainer), versions]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]
