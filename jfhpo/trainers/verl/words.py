"""The words of ``python -m verl.trainer.main_ppo`` for one segment of a trial.

In this order, the later ones counting: what this project wants other than verl does, what a CPU needs, the problem's
``trainer_settings.overrides``, the trial's configuration, and what ties the run to its study: files, seeds, the gate.
The horizon is always the problem's, whatever the trial's own number of steps: verl's schedule depends on it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Config
from jfhpo.trainers.hf.settings import AT, ROLLOUTS
from jfhpo.trainers.verl import cpu_platform
from jfhpo.trainers.verl.overrides import ACTOR, ROLLOUT, assignments
from jfhpo.trainers.verl.ranges import BATCH, EPOCHS, ESTIMATOR, LR, MICRO, MINI, N
from jfhpo.trainers.verl.settings import VerlSettings

REF, MODEL = "actor_rollout_ref.ref", "actor_rollout_ref.model"
FP32 = "{param_dtype:fp32,reduce_dtype:fp32,buffer_dtype:fp32}"
ATTENTION = f"{MODEL}.override_config.attn_implementation"
PADDED = (f"{MODEL}.use_remove_padding=False", f"+{ATTENTION}=sdpa")
"""PyTorch's own attention, which reads no packed sequences."""
ON_CPU = (
    *PADDED, f"{ACTOR}.strategy=fsdp2", f"{ACTOR}.fsdp_config.use_torch_compile=False",
    f"{REF}.fsdp_config.use_torch_compile=False",
    f"+{ACTOR}.fsdp_config.mixed_precision={FP32}", f"+{REF}.fsdp_config.mixed_precision={FP32}",
    f"{ROLLOUT}.dtype=float32", f"{ROLLOUT}.enforce_eager=True", f"{ROLLOUT}.free_cache_engine=False",
    f"+{ROLLOUT}.enable_sleep_mode=False", f"{ROLLOUT}.load_format=auto", f"{ROLLOUT}.agent.num_workers=1",
    f"{ROLLOUT}.checkpoint_engine.update_weights_bucket_megabytes=16", "reward.num_workers=1",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
)  # fmt: skip
"""No flash attention and no compiler, one worker of each kind, and float32 throughout."""
FLASH = ("flash_attn", "kernels")
"""Packages with the attention that verl loads models with, and that none of its requirements brings."""
LOOPS = "jfhpo.trainers.verl.agent_loops"
AGENT_LOOPS = "\n".join(
    f"- name: jfhpo_{name}\n  _target_: {LOOPS}.{cls}"
    for name, cls in (("single_turn", "SingleTurn"), ("greedy", "Greedy"))
)
"""The file of agent loops, beside the segment's others."""

ASKED: Mapping[str, type] = {ESTIMATOR: str, BATCH: int, MINI: int, N: int, EPOCHS: int, LR: float}
"""What the trainer reads of its own words, to lay out prompts and to count: also where overrides say it."""
NUMBERS = {int: "a whole number", float: "a number"}
RAY_ON_CPU = (
    "ray_kwargs.ray_init.num_cpus=16", "+ray_kwargs.ray_init.object_store_memory=300000000",
)  # fmt: skip
"""Slots for verl's small actors on a machine with fewer cores, and a store for batches of miniature models."""


@dataclass(frozen=True)
class Place:
    """Where a segment runs and what it reads."""

    folder: Path
    """The segment's own."""
    model: str
    train: Path
    validation: Path
    prompt_length: int
    completion_length: int
    max_steps: int
    on_cpu: bool
    reward: str | None = None
    """A user's own, ``file.py:function``; None for that of the data's source."""
    seed: int = 0
    checkpoint: Path | None = None
    """A ``global_step_<N>`` folder of verl's."""


def shape(config: Config, settings: VerlSettings) -> dict[str, Any]:
    """The keys that decide what a step is, before a segment is known: batch, groups, estimator, the loss.

    Raises:
        UsageError: a name that is no key, or a key that verl does not act on.
    """
    ours: dict[str, Any] = {
        ESTIMATOR: settings.advantage,
        BATCH: settings.prompts_per_step,
        EPOCHS: settings.epochs,
        f"{ACTOR}.optim.weight_decay": settings.weight_decay,
        N: ROLLOUTS,
        f"{ACTOR}.use_kl_loss": True,  # or no divergence from the reference is measured, and no rule could watch it
        f"{ACTOR}.kl_loss_coef": 0.0,
        f"{ROLLOUT}.name": "vllm",
        f"{ROLLOUT}.tensor_model_parallel_size": 1,
    }
    given = dict(word.partition("=")[::2] for word in settings.overrides if not word.startswith("+"))
    found = {key: value for key, value in ours.items() if key not in given}
    found |= {key: given[key] for key in ASKED if key in given} | assignments(config)
    found |= {key: _read(key, found[key], kind) for key, kind in ASKED.items() if key in found}
    batch, n = found[BATCH], found[N]
    mini = found.setdefault(MINI, batch // settings.minibatches)
    micro = settings.micro_batch or max(1, mini * n // settings.gpus)
    for key in (MICRO, f"{REF}.log_prob_micro_batch_size_per_gpu", f"{ROLLOUT}.log_prob_micro_batch_size_per_gpu"):
        if key not in found and key not in given:
            found[key] = micro
    return found


def _read(key: str, value: Any, kind: type) -> Any:
    try:
        return kind(value)
    except ValueError:  # a number is one already where a search space says it
        raise UsageError(f"{AT}.overrides: {key}={value} must be {NUMBERS[kind]}") from None


def segment_words(config: Config, settings: VerlSettings, place: Place) -> list[str]:
    """All words, in the order of this module's description."""
    decided = shape(config, settings)
    needed = ON_CPU if place.on_cpu else without_flash(settings)
    words = [*needed, *settings.overrides, *map(word, decided.items())]
    if decided.get(ESTIMATOR) == "grpovi":
        low, high = settings.reward_bounds
        bounds = {"low": low, "high": high, "ties": settings.grpovi_ties}
        words += [f"+algorithm.grpovi.{name}={value}" for name, value in bounds.items()]
    words += map(word, _tied(settings, place).items())
    words += _ray(settings, place)
    grpovi = decided.get(ESTIMATOR) == "grpovi"
    return [*words, f"+trainer.jfhpo.gate={_text(place.folder / 'gate.json')}", f"+trainer.jfhpo.grpovi={grpovi}"]


def without_flash(settings: VerlSettings) -> tuple[str, ...]:
    """`PADDED` where verl is installed without flash attention and the overrides name no other: by its defaults not one
    model could be loaded."""
    found = [importlib.util.find_spec(name) is not None for name in ("verl", *FLASH)]
    named = any(word.lstrip("+").startswith(f"{ATTENTION}=") for word in settings.overrides)
    return PADDED if found[0] and not any(found[1:]) and not named else ()


def _tied(settings: VerlSettings, place: Place) -> dict[str, Any]:
    """What ties the run to its study."""
    return {
        f"{MODEL}.path": place.model,
        "data.train_files": place.train,
        "data.val_files": place.validation,
        "data.shuffle": False,  # the file holds the prompts in their order
        "data.dataloader_num_workers": 0,
        "data.filter_overlong_prompts": False,  # checked already, and verl would do it again for every segment
        "data.max_prompt_length": place.prompt_length,
        "data.max_response_length": place.completion_length,
        f"{ROLLOUT}.max_model_len": place.prompt_length + place.completion_length,
        f"{ROLLOUT}.seed": place.seed,
        f"{ROLLOUT}.val_kwargs.do_sample": True,
        f"{ROLLOUT}.val_kwargs.temperature": 1.0,
        f"{ROLLOUT}.agent.default_agent_loop": "jfhpo_single_turn",
        f"{ROLLOUT}.agent.agent_loop_config_path": place.folder / "agent_loops.yaml",
        **_reward(settings, place),
        "trainer.nnodes": 1,
        "trainer.n_gpus_per_node": settings.gpus,
        "trainer.device": "cpu" if place.on_cpu else "cuda",
        "trainer.logger": "[console,file]",
        "trainer.project_name": "jfhpo",
        "trainer.total_epochs": 1,
        "trainer.total_training_steps": place.max_steps,
        "trainer.save_freq": -1,
        "trainer.test_freq": -1,
        "trainer.val_before_train": False,
        "trainer.checkpoint_callback_class": "jfhpo.trainers.verl.gate.Gate",
        "trainer.default_local_dir": place.folder / "checkpoints",
        **(
            {"trainer.resume_mode": "resume_path", "trainer.resume_from_path": place.checkpoint}
            if place.checkpoint
            else {"trainer.resume_mode": "disable"}
        ),
    }


def _reward(settings: VerlSettings, place: Place) -> dict[str, str]:
    at, module, (name, value) = "reward.custom_reward_function", "rewards", ("extraction", settings.extraction)
    if place.reward is not None:
        module, (name, value) = "own_reward", ("reward", place.reward)
    keys = {f"{at}.path": f"pkg://jfhpo.tasks.datasets.{module}", f"{at}.name": "compute_score"}
    return keys | {f"+{at}.reward_kwargs.{name}": value}


def _ray(settings: VerlSettings, place: Place) -> list[str]:
    if settings.ray_address is not None:
        environment = {"VERL_FILE_LOGGER_PATH": str(place.folder / "metrics.jsonl")} | environment_of(
            settings, place.on_cpu
        )
        at = "+ray_kwargs.ray_init"
        return [f"{at}.address={_text(settings.ray_address)}"] + [
            f"{at}.runtime_env.env_vars.{name}={_text(value)}" for name, value in environment.items()
        ]
    words = [
        "+ray_kwargs.ray_init.address=local",  # whatever RAY_ADDRESS says
        f"+ray_kwargs.ray_init._temp_dir={_text(place.folder / 'ray')}",
        "+ray_kwargs.ray_init.include_dashboard=False",
    ]
    return words + ([*RAY_ON_CPU, f"+ray_kwargs.ray_init.num_gpus={settings.gpus}"] if place.on_cpu else [])


def environment_of(settings: VerlSettings, on_cpu: bool) -> dict[str, str]:
    """What the processes of a run find in their environment, besides what is there."""
    common = {"VERL_USE_EXTERNAL_MODULES": "jfhpo.trainers.verl.plugin", "TOKENIZERS_PARALLELISM": "false"}
    if not on_cpu:
        return common
    slots = ",".join(map(str, range(settings.gpus)))  # Ray wants as many as there are ranks, and looks no further
    return common | cpu_platform.ENVIRONMENT | {"CUDA_VISIBLE_DEVICES": slots}


def word(item: tuple[str, Any]) -> str:
    """``key=value`` as Hydra reads it back."""
    key, value = item
    if isinstance(value, Path) or (isinstance(value, str) and not value.startswith("[")):
        return f"{key}={_text(value)}"
    return f"{key}={value!r}" if isinstance(value, float) else f"{key}={value}"


def _text(value: str | Path) -> str:
    """Quoted where Hydra's grammar would read something else in it."""
    text = str(value)
    if text and all(c.isalnum() or c in "_-./:" for c in text):
        return text
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
