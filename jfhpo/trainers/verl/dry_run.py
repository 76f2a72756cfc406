"""What a trial would launch, composed and checked without launching it: the words, and what a step of them is."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.trial import Config, Trial
from jfhpo.tasks import TASKS
from jfhpo.trainers.engine import Launch, Settings
from jfhpo.trainers.estimate import Job
from jfhpo.trainers.verl import compose, models
from jfhpo.trainers.verl.data import own_function
from jfhpo.trainers.verl.overrides import ACTOR, ROLLOUT
from jfhpo.trainers.verl.ranges import BATCH, DYNAMIC, EPOCHS, GPUS, KL_SWITCH, LENGTHS, MICRO, N
from jfhpo.trainers.verl.settings import VerlSettings
from jfhpo.trainers.verl.words import Place, environment_of, segment_words, without_flash

PADDING = (
    "On a GPU of this machine sequences would be padded, not packed, and attention PyTorch's, which takes longer: "
    "flash attention is not installed (pip install flash-attn --no-build-isolation)"
)
FOLDER = Path("/tmp/jfhpo-verl-XXXXXXXX")
"""In place of the folder that a segment makes for itself."""
UNKNOWN_LENGTH = 512
"""verl's default limit on prompts, where the trainer would take the longest of the data."""
OFFLOADED = "actor_rollout_ref.ref.fsdp_config.param_offload"
CHECKPOINTED = "actor_rollout_ref.model.enable_gradient_checkpointing"
SHARE, PARALLEL = f"{ROLLOUT}.gpu_memory_utilization", f"{ROLLOUT}.tensor_model_parallel_size"
AT_ONCE = f"{ACTOR}.ppo_max_token_len_per_gpu"
DEFAULTS: Mapping[str, Any] = {
    DYNAMIC: False, AT_ONCE: 16384, OFFLOADED: False, CHECKPOINTED: True, SHARE: 0.5, PARALLEL: 2, KL_SWITCH: False,
    EPOCHS: 1,
}  # fmt: skip
"""verl 0.9.1's, for the keys that an estimate reads (a test compares them with verl's own files)."""


def words(arguments: Mapping[str, Any], config: Config, model: str, seed: int) -> list[str]:
    """Of the first segment of a trial, from the base model."""
    settings, task = VerlSettings.of(arguments["settings"]), arguments["task"]
    prompt = settings.max_prompt_length or (TASKS[task].prompt_length if task in TASKS else UNKNOWN_LENGTH)
    place = Place(
        folder=FOLDER,
        model=arguments["models"][model],
        train=FOLDER / "data" / "train.parquet",
        validation=FOLDER / "data" / "validation.parquet",
        prompt_length=prompt,
        completion_length=settings.max_completion_length or TASKS[task].completion_length,
        max_steps=arguments["max_steps"],
        on_cpu=models.on_cpu(settings.device),
        reward=own_function(task, arguments["data"]),
        seed=seed % 2**31,
    )
    return segment_words(config, settings, place)


@functools.lru_cache(1024)
def _composed(found: tuple[str, ...]) -> None:
    compose.compose(found)


def launch(arguments: Mapping[str, Any], trial: Trial) -> Launch:
    """The command of a trial's first segment, and which checks it has passed."""
    found = words(arguments, trial.config, trial.fidelity.model, trial.seed)
    compose.check_words(found)
    if compose.installed():
        _composed(tuple(found))
    settings = VerlSettings.of(arguments["settings"])
    environment = environment_of(settings, models.on_cpu(settings.device))
    return Launch(tuple(found), ("-m", "verl.trainer.main_ppo"), environment, checks(settings))


def checks(settings: VerlSettings) -> str:
    """What was checked on this machine, and what was not."""
    if compose.installed():
        said = "each composed and validated by verl's own configuration (`jfhpo.trainers.verl.compose`)"
        return f"{said}. {PADDING}" if not models.on_cpu(settings.device) and without_flash(settings) else said
    return (
        "verl is not installed here (pip install -e '.[verl]'), so nothing was composed or validated by verl's own "
        "configuration. Checked without it: every word can be read, ranges, keys that verl is known to ignore, batches "
        "that divide. Not checked: keys that verl does not have, its defaults beside these words"
    )


def gpus(problem: Settings) -> int:
    settings = VerlSettings.of(problem["trainer_settings"])
    return settings.gpus if settings.device == "cuda" else 0


def gpus_each(problem: Settings) -> int:
    """None of this machine's where a Ray cluster that is running has them."""
    settings = VerlSettings.of(problem["trainer_settings"])
    return 0 if settings.ray_address else settings.gpus


def job(problem: Settings) -> Job:
    """A step of the recipe, or where that does not say, of the first values of the space."""
    from jfhpo.trainers.hf.problem import trainer_arguments

    config = {name: value for name, value in problem["recipe"].items() if name != "lr_at_width"}
    found = trainer_arguments(problem)
    values = DEFAULTS | compose.check_words(words(found, config, problem["target"], seed=0))
    lengths = [int(values[key]) for key in LENGTHS]
    at_once = int(values[AT_ONCE]) if values[DYNAMIC] else int(values[MICRO]) * sum(lengths)
    return Job(
        prompts=int(values[BATCH]),
        n=int(values[N]),
        prompt_tokens=lengths[0],
        response_tokens=lengths[1],
        gpus=int(values[GPUS]),
        tokens_at_once=at_once,
        passes=int(values[EPOCHS]),
        recomputes=bool(values[CHECKPOINTED]),
        reference_bytes=0 if values[OFFLOADED] else 2,
        has_reference=bool(values[KL_SWITCH]),
        sampler_share=float(values[SHARE]),
        tensor_parallel=int(values[PARALLEL]),
    )
