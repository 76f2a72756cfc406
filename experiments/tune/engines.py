"""What of a user's file is put differently for each engine: names of hyperparameters, fixed settings, data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from experiments.tune.file import TuneFile
from jfhpo.core.errors import unknown
from jfhpo.tasks.datasets.own import OWN
from jfhpo.trainers.hf.problem import check_names
from jfhpo.trainers.hf.settings import ROLLOUTS
from jfhpo.trainers.trl.arguments import FIELDS, TrlSettings, grpo_defaults
from jfhpo.trainers.verl.overrides import ACTOR, KEYS
from jfhpo.trainers.verl.ranges import MINI
from jfhpo.trainers.verl.settings import VerlSettings
from jfhpo.trainers.verl.words import word

NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {"trl": FIELDS, "verl": KEYS}
"""Engine -> our name of a hyperparameter -> its own keys."""


def our_name(engine: str, key: str) -> str:
    """Our name of a hyperparameter that the user calls by the engine's key, where there is one: methods know `lr` by
    its name, and carry it from one model size to another."""
    for name, keys in NAMES[engine].items():
        if keys == (key,):
            return name
    return key


def data_of(file: TuneFile) -> tuple[str, dict[str, Any]]:
    """``problem.task`` and ``problem.data``."""
    if "name" in file.data:
        if file.reward != file.data["name"]:
            raise file.error(
                f"reward={file.reward}, but data.name={file.data['name']} has a check of its own; for another, write "
                f"its rows (jfhpo data {file.data['name']} --to {file.engine} --out …) and name them in data.train"
            )
        return file.data["name"], {key: value for key, value in file.data.items() if key != "name"}
    data = {("share" if key == "validation_share" else key): value for key, value in file.data.items()}
    return OWN, {**data, "reward": file.reward}


def trainer_settings(file: TuneFile) -> dict[str, Any]:
    """``problem.trainer_settings``."""
    return _trl(file) if file.engine == "trl" else _verl(file)


THEIR_OWN = (
    "gradient_checkpointing", "loss_type", "lr_scheduler_type", "scale_rewards", "temperature",
    "use_bias_correction_kl",
)  # fmt: skip
"""Arguments for which our studies have other values than `GRPOConfig` (docs/deviations.md): a user's job has TRL's."""
SIZES = ("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation", "generation_batch_size")


def _trl(file: TuneFile) -> dict[str, Any]:
    """Settings of ours (`TrlSettings`) and arguments of `GRPOConfig`, which the user may mix. What the file leaves out
    is as TRL has it."""
    ours = {f.name for f in fields(TrlSettings)} - {"arguments"}
    theirs = {key: value for key, value in file.settings.items() if key not in ours}
    for name in FIELDS:
        if name in theirs:
            for field in FIELDS[name]:
                theirs[field] = theirs[name]
            del theirs[name]
    check_names(theirs, sorted(ours | set(FIELDS)), "GRPOConfig")
    defaults = grpo_defaults()
    found = {key: value for key, value in file.settings.items() if key in ours}
    found = {"weight_decay": defaults["weight_decay"], **found, **_trl_batches(file, theirs)}
    return found | {"arguments": {key: defaults[key] for key in THEIR_OWN} | theirs}


def _trl_batches(file: TuneFile, theirs: dict[str, Any]) -> dict[str, int]:
    """TRL's sizes of batches, taken out of `theirs`, as ours."""
    found = {"epochs": theirs.pop("num_iterations")} if "num_iterations" in theirs else {}
    given = {key: theirs.pop(key) for key in SIZES if theirs.get(key) is not None}
    n = theirs.get("num_generations", ROLLOUTS)
    for key, value in (given | {"num_generations": n}).items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise file.error(f"settings.{key}={value} must be a whole number from 1 on")
    if not given:
        return found
    first, searched = next(iter(given)), {our_name("trl", key) for key in file.space} or {"rollout_n"}
    if twice := [key for key in ("prompts_per_step", "minibatches", "micro_batch") if key in file.settings]:
        raise file.error(f"settings.{twice[0]} and settings.{first} both say how large a batch is; leave one out")
    if "rollout_n" in searched:
        raise file.error(
            f"settings.{first}: where num_generations is searched, each number would have other prompts in a step; "
            "write prompts_per_step, minibatches and micro_batch instead"
        )
    micro, accumulated = given.get(SIZES[0], 8), given.get(SIZES[1], 1)
    completions = given.get(SIZES[3], micro * given.get(SIZES[2], accumulated))
    minibatch = micro * accumulated
    for name, by in (("num_generations", n), (f"{SIZES[0]} × {SIZES[1]}", minibatch)):
        if completions % by:
            raise file.error(f"settings: {name} = {by} does not divide the {completions} completions of a generation")
    return found | {
        "prompts_per_step": completions // n, "minibatches": completions // minibatch, "micro_batch": micro
    }  # fmt: skip


SILENCE = 0.9
"""Of the study's limit on a step: after so many seconds of silence a run of verl's is ended."""
VERL_SETTINGS = {
    "data.train_batch_size": "prompts_per_step", "data.max_prompt_length": "max_prompt_length",
    "data.max_response_length": "max_completion_length", "trainer.n_gpus_per_node": "gpus",
    "trainer.device": "device", f"{ACTOR}.ppo_epochs": "epochs",
}  # fmt: skip
"""verl's keys that are settings of our trainer -> their names."""


def _verl(file: TuneFile) -> dict[str, Any]:
    """Settings of ours (`VerlSettings`) and verl's own keys, mixed; our name of a hyperparameter is its keys."""
    ours = {f.name for f in fields(VerlSettings)} - {"overrides"}
    # The study's own limit says only that there was no answer.
    found: dict[str, Any] = {"device": "cuda", "timeout": SILENCE * file.step_timeout}
    theirs: dict[str, Any] = {}
    for key, value in file.settings.items():
        name = VERL_SETTINGS.get(key, key)
        if name in ours:
            found[name] = value
        else:
            theirs |= dict.fromkeys(KEYS.get(key, (key,)), value)
    batch, mini = found.get("prompts_per_step", VerlSettings.prompts_per_step), theirs.pop(MINI, None)
    if mini is not None:
        if not isinstance(mini, int) or mini < 1 or batch % mini:
            raise file.error(f"settings.{MINI}={mini} does not divide data.train_batch_size={batch}, both in prompts")
        found["minibatches"] = batch // mini
    if unread := [key for key in theirs if "." not in key]:
        raise file.error(str(unknown("key of settings", unread[0], [*ours, *KEYS, "a dotted key of verl's"])))
    return found | {"overrides": [word(item) for item in theirs.items()]}
