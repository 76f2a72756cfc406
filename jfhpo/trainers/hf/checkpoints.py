"""A Hugging Face `Trainer`'s checkpoint folder, and beside its files whose it is: another trial's is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.trainer import CheckpointError
from jfhpo.core.trial import Trial

OURS = "jfhpo.json"


def identity(trial: Trial) -> dict[str, Any]:
    """What a checkpoint must agree with."""
    return {"config": dict(trial.config), "model": trial.fidelity.model, "seed": trial.seed}


def publish(written: Path, path: Path, trial: Trial, **held: Any) -> None:
    """Move what the library has written to `path`, with `held` to be read back."""
    (written / OURS).write_text(json.dumps(identity(trial) | held))
    shutil.move(written, path)


def read(path: Path, trial: Trial) -> Mapping[str, Any]:
    """What `publish` was told to hold; `CheckpointError` for what cannot be read or is another trial's."""
    try:
        held = json.loads((path / OURS).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    for name, value in identity(trial).items():
        if held.get(name) != value:
            raise CheckpointError(f"checkpoint {path} has {name}={held.get(name)}, this trial {value}")
    return held
