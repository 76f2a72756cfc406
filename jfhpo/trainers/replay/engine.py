"""Recorded curves as a study knows them: `jfhpo.trainers.replay.trainer.ReplayTrainer`, the sizes that are recorded.

``problem.trainer=replay`` turns a problem into its replay: the task's recording has to be of the problem's space,
steps and trainer settings. ``+problem.trainer_settings.serve=`` says what serves a trial; see the trainer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import ModelSize
from jfhpo.core.trial import Config
from jfhpo.replay.dataset import DATA, describe
from jfhpo.trainers.engine import Engine, Settings
from jfhpo.trainers.sources import source_digest

if TYPE_CHECKING:
    from jfhpo.trainers.replay.table import Table

MODULE = "jfhpo.trainers.replay.trainer"
OWN = {"serve": "table", "folder": str(DATA)}
"""The trainer's own settings, with their defaults; all others are those of the recorded trainer."""
SERVE = ("table", "nearest", "surrogate")


def _own(problem: Settings) -> dict[str, Any]:
    found = OWN | {name: value for name, value in problem["trainer_settings"].items() if name in OWN}
    if found["serve"] not in SERVE:
        raise unknown("problem.trainer_settings.serve", found["serve"], SERVE)
    return found


def _table(problem: Settings) -> Table:
    from jfhpo.trainers.replay.table import table

    return table(problem["task"], Path(_own(problem)["folder"]))


def family(problem: Settings) -> tuple[ModelSize, ...]:
    data = _table(problem).data
    return tuple(size for size in data.family if size.name in data.models)


def listed(problem: Settings) -> Sequence[Config] | None:
    """What a study on the table can choose from."""
    return _table(problem).listed(problem["target"]) if _own(problem)["serve"] == "table" else None


def arguments(problem: Settings) -> dict[str, Any]:
    """A `UsageError` for a problem that differs from what was recorded."""
    own, name = _own(problem), problem["task"]
    about = describe(name, Path(own["folder"]))
    wanted = {k: v for k, v in problem["trainer_settings"].items() if k not in OWN}
    recorded = about["problem"]["trainer_settings"]
    for key in sorted(wanted.keys() | recorded.keys()):
        if wanted.get(key) != recorded.get(key):
            _refuse(f"trainer_settings.{key}", wanted.get(key, "nothing"), recorded.get(key, "nothing"))
    steps = about["problem"]["max_steps"]
    if problem["max_steps"] != steps:
        why = "its steps end there" if problem["max_steps"] > steps else "the schedule's horizon"
        _refuse("max_steps", problem["max_steps"], f"{steps} ({why})")
    for key in sorted(problem["space"].keys() | about["space"].keys()):
        here, there = problem["space"].get(key, "nothing"), about["space"].get(key, "nothing")
        if _plain(here) != _plain(there):
            _refuse(f"space.{key}", here, there)
    return {"data": name, **own}


def _refuse(what: str, here: object, there: object) -> None:
    raise UsageError(f"problem.{what}={here} is not what was recorded: {there}; replay serves that alone")


def _plain(spec: Any) -> Any:
    """Numbers compare as numbers: YAML reads 1e-5 as text."""
    if isinstance(spec, Mapping):
        return {k: _plain(v) for k, v in spec.items() if not (k == "log" and v is False)}
    if isinstance(spec, list | tuple):
        return [_plain(v) for v in spec]
    try:
        return float(spec)
    except (TypeError, ValueError):
        return spec


def version(arguments: Mapping[str, Any]) -> str:
    """Of the sources, the settings and the recorded files; where these lie is not part of it."""
    try:
        files = describe(arguments["data"], Path(arguments["folder"]))["files"]
    except UsageError:
        files = f"none in {arguments['folder']}"  # whoever reads them will say so
    content = [source_digest(MODULE), arguments["data"], arguments["serve"], files]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


ENGINE = Engine("replay", f"{MODULE}:ReplayTrainer", family, arguments, version, simulated=True, listed=listed)
