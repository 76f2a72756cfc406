"""The file of ``jfhpo tune --config my.yaml``: read, and every mistake in it named by file and key.

Paths in it are relative to the file, so that the command works from anywhere. docs/tune.md says what each key means.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks.datasets.own_reward import is_file
from jfhpo.tasks.datasets.reading import SUFFIXES

ENGINES = ("trl", "verl")
NAMED_DATA = ("name", "source", "config", "validation", "share", "seed", "test")
"""Keys of ``data`` where it is one of our data sets, by `name`: the arguments of `jfhpo.tasks.datasets.load`."""
OWN_DATA = ("train", "validation", "validation_share", "test", "seed")
"""Keys of ``data`` where it is the user's own."""
NEEDED = ("engine", "target", "data", "steps", "budget_hours")


@dataclass(frozen=True)
class TuneFile:
    """What the user wrote, with defaults filled in and paths made absolute."""

    path: Path
    engine: str
    target: str | dict[str, Any]
    """Model that the job trains: a folder or a name on the hub; or a group, `path` and what `declared.KNOWN` lists, so
    that nothing has to be looked up."""
    data: dict[str, Any]
    steps: int
    """Of a full run: r_max, and the learning-rate schedule's horizon."""
    budget_hours: float
    """Of trainer time, final run included: wall time on GPUs, CPU time without one."""
    reward: str = ""
    """``file.py:function``, or a check of ours by name; by default that of the data set in ``data.name``."""
    name: str = ""
    """What the results folder is called; by default the file's name."""
    proxy: str | dict[str, Any] | None = None
    rungs: list[int] | None = None
    space: dict[str, Any] = field(default_factory=dict)
    start: dict[str, Any] = field(default_factory=dict)
    """The values that the job has today: tried first."""
    settings: dict[str, Any] = field(default_factory=dict)
    """What stays as it is, in the engine's own keys."""
    method: str | dict[str, Any] = "jfhpo"
    early_stopping: str | None = None
    seed: int = 0
    workers: int = 1
    max_trials: int | None = None
    test_k: int = 1
    checkpoint_every: int = 10
    step_timeout: float = 7200.0
    tracking: str = "auto"
    out: str = "results_tune"

    def error(self, message: str) -> UsageError:
        return UsageError(f"{self.path}: {message}")


MODEL = "a model folder, a name on the hub, or a group with path"
KINDS: Mapping[str, tuple[Any, str]] = {
    "engine": (str, "trl or verl"), "target": ((str, dict), MODEL), "reward": (str, "text"),
    "data": (dict, "a group of keys"), "steps": (int, "a whole number"), "budget_hours": ((int, float), "a number"),
    "name": (str, "text"), "proxy": ((str, dict, type(None)), MODEL),
    "rungs": (list, "a list of steps"), "space": (dict, "a group of hyperparameters"),
    "start": (dict, "a group of values"), "settings": (dict, "a group of the engine's keys"),
    "method": ((str, dict), "a name, or a group with name and settings"),
    "early_stopping": ((str, type(None)), "the name of a preset"),
    "seed": (int, "a whole number"), "workers": (int, "a whole number"),
    "max_trials": ((int, type(None)), "a whole number"), "test_k": (int, "a whole number"),
    "checkpoint_every": (int, "a whole number"), "step_timeout": ((int, float), "a number of seconds"),
    "tracking": (str, "auto, offline, online or none"), "out": (str, "a folder"),
}  # fmt: skip


def read_tune_file(path: Path) -> TuneFile:
    """The file's content; a `UsageError` names file and key for anything wrong with it by itself."""
    found = _yaml(path)
    known = [f.name for f in fields(TuneFile) if f.name != "path"]
    for key, value in found.items():
        if key not in known:
            raise UsageError(f"{path}: {unknown('key', key, known)}")
        kind, wanted = KINDS[key]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise UsageError(f"{path}: {key}={value!r} must be {wanted}")
    for key in NEEDED:
        if key not in found:
            raise UsageError(f"{path}: {key} is missing; a file needs {', '.join(NEEDED)}")
    found.setdefault("name", path.stem)
    found.setdefault("reward", found["data"].get("name", ""))
    file = TuneFile(path, **_with_paths(found, path.parent))
    _check(file)
    return file


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise UsageError(f"no file {path}; `jfhpo tune --config my.yaml`, as in examples/tune_trl/tune.yaml")
    try:
        found = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    except (OSError, UnicodeDecodeError, YAMLError, OmegaConfBaseException) as error:
        where = getattr(error, "problem_mark", None)
        at = f", line {where.line + 1}" if where else ""
        raise UsageError(f"{path}{at} is not YAML: {getattr(error, 'problem', None) or error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"{path} must hold key: value lines, as in examples/tune_trl/tune.yaml")
    return found


def _check(file: TuneFile) -> None:
    if file.engine not in ENGINES:
        raise file.error(str(unknown("engine", file.engine, ENGINES)))
    if not re.fullmatch(r"\w[\w.-]*", file.name):
        raise file.error(f"name={file.name} names a folder: letters and digits, then also . and -")
    for key in ("steps", "workers", "test_k", "checkpoint_every"):
        if getattr(file, key) < 1:
            raise file.error(f"{key}={getattr(file, key)} must be at least 1")
    if not 0 < file.budget_hours < math.inf:
        raise file.error(f"budget_hours={file.budget_hours:g} must be above 0")
    if isinstance(file.method, dict) and not isinstance(file.method.get("name"), str):
        raise file.error(f"method={file.method} must have a name, for example {{name: jfhpo, initial: 4}}")
    valid = NAMED_DATA if "name" in file.data else OWN_DATA
    for key in file.data:
        if key not in valid:
            raise file.error(str(unknown("key of data", key, valid)))
    if "name" not in file.data and "train" not in file.data:
        raise file.error("data.train is missing: a file of training rows, or data.name, a data set of ours")
    if not file.reward:
        raise file.error("reward is missing: file.py:function, or with data.name one of our checks")
    for key in file.settings.keys() & file.space.keys():
        raise file.error(f"{key} is in space and in settings: search it or fix it")
    for key in file.start:
        if file.space and key not in file.space:
            raise file.error(f"start.{key} is not searched; put it into settings")


def _with_paths(found: dict[str, Any], folder: Path) -> dict[str, Any]:
    """With absolute paths where a model, data or a reward is a file or folder, seen from the file's own."""

    def beside(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        local = folder / Path(value).expanduser()
        return str(local.resolve()) if local.exists() or local.suffix in SUFFIXES or value.startswith(".") else value

    made = dict(found)
    for key in ("target", "proxy"):
        model = made.get(key)
        made[key] = {**model, "path": beside(model.get("path"))} if isinstance(model, dict) else beside(model)
    files = ("source", "test") if "name" in made["data"] else ("train", "validation", "test")
    made["data"] = {key: beside(value) if key in files else value for key, value in made["data"].items()}
    file, colon, function = made["reward"].partition(":")
    if is_file(file):
        made["reward"] = f"{(folder / Path(file).expanduser()).resolve()}{colon}{function}"
    return made
