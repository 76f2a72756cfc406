"""LoRA instruction-tuning as a study knows it: the miniature family on generated instructions, or declared models on
Alpaca and Dolly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.optional import optional
from jfhpo.core.problem import ModelSize
from jfhpo.tasks.instructions import material
from jfhpo.trainers.engine import Engine, Settings, one_gpu
from jfhpo.trainers.hf import problem as hf
from jfhpo.trainers.hf.settings import AT
from jfhpo.trainers.hf.version import version_of
from jfhpo.trainers.sft.arguments import ADAPTER, RANK, TRAINING, SftSettings, check_ranks

MODULE = "jfhpo.trainers.sft.trainer"


def family(problem: Settings) -> tuple[ModelSize, ...]:
    return hf.family(problem, (material.GENERATED.name,))


def arguments(problem: Settings) -> dict[str, Any]:
    """Everything that can be wrong in the settings is refused here, before a model or a data set is loaded."""
    for library in ("trl", "peft"):
        optional(library, "trl", "problem.trainer=sft")
    material.check(problem["task"], problem["data"])
    settings = hf.read_settings(SftSettings, problem["trainer_settings"])
    if problem["task"] != material.GENERATED.name and settings.max_answer_length is None:
        raise UsageError(f"{AT}.max_answer_length is missing; task {problem['task']} needs one")
    hf.check_names(problem["space"], (*ADAPTER, *TRAINING), "SFTConfig")
    if RANK in problem["space"]:
        used = {problem["proxy"], problem["target"], *problem["extra_models"]}
        narrowest = min((size for size in family(problem) if size.name in used), key=lambda size: size.width)
        check_ranks(problem["space"][RANK], narrowest.width, narrowest.name)
    return hf.trainer_arguments(problem)


def version(arguments: Mapping[str, Any]) -> str:
    libraries = ("torch", "transformers", "trl", "peft")
    return version_of(arguments, MODULE, libraries)


ENGINE = Engine("sft", f"{MODULE}:SftTrainer", family, arguments, version, hf.bases, gpus_each=one_gpu, in_worker=True)
"""TRL's SFTTrainer with PEFT's LoRA: instruction-tuning, judged by validation loss."""
