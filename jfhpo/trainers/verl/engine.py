"""verl as a study knows it: what its trials would launch, every word of it checked before anything is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.optional import optional
from jfhpo.core.problem import ModelSize
from jfhpo.core.trial import Config
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets.own import OWN, local_files
from jfhpo.tasks.datasets.own_reward import is_file
from jfhpo.tasks.datasets.splits import SPLITS
from jfhpo.trainers.declared import declared_sizes
from jfhpo.trainers.engine import Engine, Settings
from jfhpo.trainers.hf import problem as hf
from jfhpo.trainers.hf.version import version_of
from jfhpo.trainers.mini import engine as mini
from jfhpo.trainers.verl import compose, dry_run, models
from jfhpo.trainers.verl.settings import VerlSettings

LIBRARIES = ("torch", "transformers", "verl")


def family(problem: Settings) -> tuple[ModelSize, ...]:
    if problem["models"]:
        for name, model in problem["models"].items():
            models.check_path(name, str(model.get("path", "")))
        return declared_sizes(problem["models"])
    if problem["task"] not in TASKS:
        raise UsageError(f"problem.models is empty, and the miniature family cannot do task {problem['task']}")
    return mini.family(problem)


def arguments(problem: Settings) -> dict[str, Any]:
    """Everything that can be wrong in settings, rows, reward and words is refused here, without verl where it is not
    installed (`dry_run.checks` says what that leaves out)."""
    from jfhpo.tasks.datasets import names

    if problem["task"] not in (OWN, *names()):
        raise unknown("problem.task", problem["task"], (OWN, *names()))
    settings = hf.read_settings(VerlSettings, problem["trainer_settings"])
    if problem["task"] not in TASKS and settings.max_completion_length is None:
        raise UsageError(f"problem.trainer_settings.max_completion_length is missing; task {problem['task']} needs one")
    mini.check_advantage(problem["space"])
    if problem["task"] == OWN:
        dry_run.check_own(problem["data"])
    found = hf.trainer_arguments(problem)
    for config in corners(problem["space"]):
        dry_run.check(found, config)
    return found


def corners(space: Mapping[str, Mapping[str, Any]]) -> list[Config]:
    """Configurations that between them hold every end of every range and every value of every list."""
    ends = {
        name: [v for v in (spec.get("low"), spec.get("high")) if v is not None] or list(spec.get("values", ()))
        for name, spec in space.items()
    }
    most = max((len(values) for values in ends.values()), default=0)
    return [{name: _number(values[min(at, len(values) - 1)]) for name, values in ends.items()} for at in range(most)]


def _number(value: Any) -> Any:
    """YAML reads 1e-5 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def version(arguments: Mapping[str, Any]) -> str:
    here = Path(__file__).parent
    sources = [*here.glob("*.py"), here.parent / "grpovi.py"]
    if arguments["task"] == OWN:
        data = arguments["data"]
        reward = data["reward"].partition(":")[0]
        sources += local_files(*(data.get(split) for split in SPLITS), reward if is_file(data["reward"]) else None)
    return version_of(arguments, sources, LIBRARIES if compose.installed() else LIBRARIES[:-1])


ENGINE = Engine(
    "verl",
    "jfhpo.trainers.verl.trainer:VerlTrainer",
    family,
    arguments,
    version,
    hf.bases,
    dry_run.gpus,
    dry_run.launch,
    dry_run.job,
    lambda: optional("verl", "verl", "problem.trainer=verl"),
)
