"""What a study recommends, as verl's overrides or TRL's `GRPOConfig` arguments, ready to paste."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.config import build_problem
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import LR
from jfhpo.study.records import CONFIG, read_records
from jfhpo.trainers.trl.arguments import FIELDS
from jfhpo.trainers.verl.overrides import overrides

ENGINES = ("verl", "trl")


def export(study: Path, engine: str, width: int | None = None) -> str:
    """The recommended configuration of a study's folder, in the words of `engine`.

    Args:
        width: hidden size of the model that it is for; the learning rate is carried there from the study's target as
            lr ∝ 1/width (µP for Adam). None leaves it as it is.

    Raises:
        UsageError: a folder that holds no study, or one that has not recommended anything yet.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    if width is not None and width < 1:
        raise UsageError(f"width={width} must be the hidden size of a model, from 1 on")
    recommended = _recommended(study)
    target, own_width = _target(study)
    lines = [f"# recommended by {study}, for model {target} of width {own_width}"]
    if LR in recommended and width not in (None, own_width):
        recommended[LR] *= own_width / width
        lines.append(f"# learning rate carried to width {width}: lr ∝ 1/width")
    if recommended.get("advantage") == "grpovi":
        lines.append(f"# advantage=grpovi takes more than these words: jfhpo/trainers/{engine}/grpovi.py says what")
    if engine == "verl":
        return "\n".join([*lines, " \\\n".join(overrides(recommended))])
    arguments = {field: value for name, value in recommended.items() for field in FIELDS.get(name, (name,))}
    return "\n".join([*lines, "GRPOConfig(", *(f"    {k}={_python(v)}," for k, v in arguments.items()), ")"])


def _recommended(study: Path) -> dict[str, Any]:
    events = {event["event"]: event for event in read_records(study)}
    if not events:
        raise UsageError(f"{study} holds no study; its folder is <out>/<experiment>/<problem>/<method>/seed=<n>")
    if "recommended" not in events:
        raise UsageError(f"{study} has not recommended anything yet; its own command continues it")
    return dict(events["recommended"]["config"])


def _target(study: Path) -> tuple[str, int]:
    """Name and width of the model that the study's learning rate is for."""
    problem, _ = build_problem(OmegaConf.load(study / CONFIG))
    return problem.target, problem.model(problem.target).width


def _python(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
