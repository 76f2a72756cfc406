"""What a study recommends, as verl's overrides or TRL's `GRPOConfig` arguments, ready to paste."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from experiments.config import build_problem
from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import LR, Problem
from jfhpo.core.trial import Config
from jfhpo.study.records import CONFIG, read_records
from jfhpo.tasks import TASKS
from jfhpo.trainers.trl.arguments import FIELDS, LEAST_BETA, TrlSettings, grpo_arguments, grpo_defaults
from jfhpo.trainers.verl.overrides import overrides
from jfhpo.trainers.verl.settings import VerlSettings
from jfhpo.trainers.verl.words import shape, word

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
    problem, _ = build_problem(OmegaConf.load(study / CONFIG))
    target, own_width = problem.target, problem.model(problem.target).width
    lines = [f"# recommended by {study}, for model {target} of width {own_width}"]
    if LR in recommended and width not in (None, own_width):
        recommended[LR] *= own_width / width
        lines.append(f"# learning rate carried to width {width}: lr ∝ 1/width")
    if recommended.get("advantage") == "grpovi":
        lines.append(f"# advantage=grpovi takes more than these words: jfhpo/trainers/{engine}/grpovi.py says what")
    found = (_verl if engine == "verl" else _trl)(recommended, problem if problem.trainer == engine else None)
    return "\n".join([*lines, found])


def _verl(recommended: Config, ran: Problem | None) -> str:
    """Words for verl's command line; where verl ran the study, also those that it had besides."""
    words = overrides(recommended)
    if ran is not None:
        settings = VerlSettings.of(ran.trainer_settings)
        more = [*settings.overrides, *map(word, shape(recommended, settings).items())]
        said = {w.partition("=")[0] for w in words}
        words += dict.fromkeys(w for w in more if w.partition("=")[0] not in said)
    return " \\\n".join(words)


def _trl(recommended: Config, ran: Problem | None) -> str:
    """A call of `GRPOConfig`; where TRL ran the study, with all that was other than TRL's defaults."""
    arguments = {field: value for name, value in recommended.items() for field in FIELDS.get(name, (name,))}
    lines = [f"    {name}={_python(value)}," for name, value in arguments.items()]
    if ran is not None:
        settings = TrlSettings(**ran.trainer_settings)
        longest = settings.max_completion_length or TASKS[ran.task].completion_length
        had = grpo_arguments(recommended, settings, ran.max_steps) | {"max_completion_length": longest}
        defaults = grpo_defaults()
        more = {k: v for k, v in had.items() if k not in arguments and v != defaults.get(k)}
        if more.get("beta") == LEAST_BETA:  # which TRL's own 0 stands for
            del more["beta"]
        lines += ["    # as in the study:", *(f"    {name}={_python(value)}," for name, value in more.items())]
        if settings.lora is not None:
            lines.append(f"    # and peft_config=LoraConfig(task_type='CAUSAL_LM', **{dict(settings.lora)})")
    return "\n".join(["GRPOConfig(", *lines, ")"])


def _recommended(study: Path) -> dict[str, Any]:
    events = {event["event"]: event for event in read_records(study)}
    if not events:
        raise UsageError(f"{study} holds no study; its folder is <out>/<experiment>/<problem>/<method>/seed=<n>")
    if "recommended" not in events:
        raise UsageError(f"{study} has not recommended anything yet; its own command continues it")
    return dict(events["recommended"]["config"])


def _python(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else repr(value)
