"""A checkpoint of a Hugging Face `Trainer`, or of verl: the folder that it writes, and beside it whose it is and what
is in it.

The library writes straight into the checkpoint's own folder, and the note beside it comes last: without a note, or with
files that are not as long as it says, it is no checkpoint. So a process that is killed while it saves leaves none, and
nothing anywhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.trainer import CheckpointError
from jfhpo.core.trial import Trial

OURS = "jfhpo.json"


def identity(trial: Trial) -> dict[str, Any]:
    """What a checkpoint must agree with."""
    return {"config": dict(trial.config), "model": trial.fidelity.model, "seed": trial.seed}


def seal(path: Path, trial: Trial, **held: Any) -> None:
    """Make a checkpoint of the folder `path`, which the library has written to, with `held` to be read back."""
    sizes = {str(file.relative_to(path)): file.stat().st_size for file in path.rglob("*") if file.is_file()}
    (path / OURS).write_text(json.dumps(identity(trial) | {"sizes": sizes} | held))


def read(path: Path, trial: Trial) -> Mapping[str, Any]:
    """What `seal` was told to hold; `CheckpointError` for what cannot be read, is not whole or is another trial's."""
    try:
        held = json.loads((path / OURS).read_text())
    except (OSError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error}") from error
    for name, value in identity(trial).items():
        if held.get(name) != value:
            raise CheckpointError(f"checkpoint {path} has {name}={held.get(name)}, this trial {value}")
    for name, size in held["sizes"].items():
        file = path / name
        found = file.stat().st_size if file.is_file() else 0
        if found != size:
            raise CheckpointError(f"checkpoint {path} is not what was written: {name} has {found} of {size} bytes")
    return held


def written(path: Path) -> Path:
    """The library's folder in a checkpoint."""
    return next(path.glob("checkpoint-*"))
