"""From a user's file to the study that searches their job: the same configuration as any other study has."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from experiments.config import CONF, ProblemConfig, load
from experiments.tune.engines import data_of, our_name, trainer_settings
from experiments.tune.file import TuneFile
from jfhpo.core.errors import UsageError
from jfhpo.core.problem import LR
from jfhpo.core.space import SearchSpace
from jfhpo.study.methods import method
from jfhpo.trainers.declared import declared_sizes
from jfhpo.trainers.hf.shape import read_shape

WITH_PROXY, STEPS_ONLY = (0.25, 0.5, 1.0), (0.125, 0.25, 0.5, 1.0)
"""Rungs as shares of a full run. Without a proxy, short runs are all there is to save with: one rung more."""
THEIR_KEYS = {
    "problem.trainer_settings.arguments.": "settings.", "problem.trainer_settings.": "settings.",
    "problem.data.": "data.", "problem.max_steps": "steps", "problem.rungs": "rungs", "problem.space.": "space.",
    "problem.models.": "", "hyperparameter of GRPOConfig": "key of GRPOConfig",
}  # fmt: skip
"""Our settings in a message -> what the user called them."""


def study_config(file: TuneFile) -> DictConfig:
    """The study's configuration; a `UsageError` for what cannot be (`in_their_words` puts it)."""
    config = load(_words(file))
    config.problem = OmegaConf.structured(ProblemConfig(**_problem(file)))
    return config


def in_their_words(file: TuneFile, error: UsageError) -> UsageError:
    """The message with the file's name, and with its keys in place of ours."""
    message = str(error)
    for ours, theirs in THEIR_KEYS.items():
        message = message.replace(ours, theirs)
    return UsageError(message) if message.startswith(f"{file.path}:") else file.error(message)


def _words(file: TuneFile) -> list[str]:
    chosen = {"name": file.method} if isinstance(file.method, str) else dict(file.method)
    name = chosen.pop("name")
    if file.early_stopping is not None:
        if not hasattr(method(name).Settings(), "early_stopping"):
            raise UsageError(f"early_stopping={file.early_stopping}: method {name} has no such setting; leave it out")
        chosen["early_stopping"] = file.early_stopping
    same = ("seed", "workers", "test_k", "checkpoint_every", "step_timeout", "tracking")
    words = ["scale=tune", f"method={name}", f"budget={3600 * file.budget_hours}"]
    words += [f"out='{Path(file.out).expanduser()}'", *(f"{key}={getattr(file, key)}" for key in same)]
    if file.max_trials is not None:
        words.append(f"max_trials={file.max_trials}")
    return words + [f"method.{key}={value}" for key, value in chosen.items()]


def _problem(file: TuneFile) -> dict[str, Any]:
    models = {"target": _model(file.target, "target")}
    if file.proxy is not None and file.proxy != file.target:
        models = {"proxy": _model(file.proxy, "proxy"), **models}
    declared_sizes(models)
    task, data = data_of(file)
    space = space_of(file)
    shares = WITH_PROXY if "proxy" in models else STEPS_ONLY
    return {
        "name": file.name,
        "task": task,
        "trainer": file.engine,
        "proxy": "proxy" if "proxy" in models else "target",
        "target": "target",
        "max_steps": file.steps,
        "rungs": file.rungs or sorted({max(1, round(file.steps * share)) for share in shares}),
        "space": space,
        "recipe": start_of(file, space, models["target"]["width"]),
        "trainer_settings": trainer_settings(file),
        "models": models,
        "data": data,
    }


def _model(model: str | dict[str, Any], role: str) -> dict[str, Any]:
    """What is known of a model: read from its folder or the hub, or as the file declares it."""
    return read_shape(model, role) if isinstance(model, str) else model


def default_space() -> dict[str, Any]:
    """``space`` and ``recipe`` around verl's, for models of billions of parameters."""
    return OmegaConf.to_container(OmegaConf.load(CONF / "problem" / "_grpo.yaml"))


def space_of(file: TuneFile) -> dict[str, Any]:
    """Our name of each searched hyperparameter -> its specification, from the short forms that a file may use: a list
    of values, ``{low, high, log}``, or ``default`` for the hyperparameters whose range we know."""
    known = default_space()["space"]
    given = file.space or dict.fromkeys(known, "default")
    found: dict[str, Any] = {}
    for key, value in given.items():
        name = our_name(file.engine, key)
        if name in found:
            raise file.error(f"space.{key} is searched twice, as {name} too; keep one")
        found[name] = _spec(file, key, value, known.get(name))
    fixed = {our_name(file.engine, key): key for key in file.settings}
    for name in found.keys() & fixed.keys():
        raise file.error(f"{fixed[name]} is in settings, and in space as {name}: search it or fix it")
    return found


def _spec(file: TuneFile, key: str, value: Any, known: Mapping[str, Any] | None) -> dict[str, Any]:
    if value == "default":
        if known is None:
            raise file.error(f"space.{key}: there is no default range; write {{low: …, high: …}} or a list of values")
        return dict(known)
    if isinstance(value, list):
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in value)
        return {"type": "ordinal", "values": sorted(value)} if numbers else {"type": "categorical", "values": value}
    if not isinstance(value, dict):
        raise file.error(f"space.{key}={value!r} must be a list of values, {{low: …, high: …}} or default")
    whole = all(isinstance(value.get(end), int) for end in ("low", "high"))
    return value if "type" in value or "values" in value else {"type": "integer" if whole else "float", **value}


def start_of(file: TuneFile, space: Mapping[str, Any], width: int) -> dict[str, Any]:
    """The first point: what the user says their job has today; else verl's recipe where it fits, the learning rate
    carried to this model's width; else the middle of the range, or the first value."""
    recipe = default_space()["recipe"]
    rate, of_width = recipe.pop("lr_at_width")
    recipe[LR] = rate * of_width / width
    stated = {our_name(file.engine, key): (key, value) for key, value in file.start.items()}
    searched = SearchSpace(space)
    found: dict[str, Any] = {}
    for name in searched.parents_first:
        if not searched.is_active(name, found):
            continue
        legal = searched.configspace[name].legal_value
        if name in stated:
            key, value = stated[name]
            if not isinstance(value, str | int | float) or not legal(value):
                raise file.error(f"start.{key}={value!r} is not in its range: {searched.allowed(name)}")
            found[name] = value
        else:
            found[name] = recipe[name] if name in recipe and legal(recipe[name]) else searched.stand_ins[name]
    return found
