"""From a configuration to `GRPOConfig`'s arguments, checked before anything is loaded.

A step of a study is one round of sampling and all the updates on it: ``minibatches × epochs`` optimizer steps of TRL's,
which counts those. So a study of 50 steps with 4 minibatches is a TRL run of 200, and TRL's schedule spans these 200.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Config
from jfhpo.trainers.hf.settings import AT, ROLLOUTS, GrpoSettings, check_choices, check_counts, check_undecided

FIELDS: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning_rate",),
    "lr_scheduler": ("lr_scheduler_type",),
    "clip_ratio": ("epsilon", "epsilon_high"),
    "grad_clip": ("max_grad_norm",),
    "kl_loss_coef": ("beta",),
    "rollout_n": ("num_generations",),
    "advantage": (),  # a trainer of its own, not an argument
}
"""The project's names of hyperparameters -> TRL's. Any other name is one of `GRPOConfig`'s own fields."""
REWARDS = ("exact", "graded")
LEAST_BETA = 1e-12
"""In place of a KL coefficient of 0, with which TRL logs no KL, and no rule could watch it."""
OWN = (
    "output_dir", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation",
    "num_iterations", "generation_batch_size", "shuffle_dataset", "logging_steps", "save_strategy", "seed", "report_to",
    "log_completions",
)  # fmt: skip
"""What the trainer itself decides."""


@dataclass(frozen=True)
class TrlSettings(GrpoSettings):
    """``problem.trainer_settings`` of the TRL trainer."""

    lora: Mapping[str, Any] | None = None
    """Arguments of `peft.LoraConfig`; None: all weights are trained."""
    use_vllm: bool = False
    """Sampling by vLLM, on a GPU."""
    eval_batch: int = 256
    """Prompts at once in evaluations, halved where GPU memory runs out."""
    arguments: Mapping[str, Any] | None = None
    """More arguments of `GRPOConfig`, as they are."""
    reward: str = "exact"
    """What training is rewarded for: the exact answer, or ``graded``, every right working step (`jfhpo.tasks.graded`),
    for a task that has it. Evaluation is always of the exact answer."""

    @property
    def updates(self) -> int:
        """Optimizer steps of TRL's per step of the study."""
        return self.minibatches * self.epochs

    def check(self) -> None:
        """A `UsageError` for what can be no setting."""
        super().check()
        check_counts(self, "eval_batch")
        check_choices(self, reward=REWARDS)
        check_undecided(self.arguments, OWN)


def grpo_defaults() -> dict[str, Any]:
    """`GRPOConfig`'s own defaults, of its fields that have one."""
    fields = dataclasses.fields(importlib.import_module("trl").GRPOConfig)
    return {field.name: field.default for field in fields if field.default is not dataclasses.MISSING}


def batches(settings: TrlSettings, n: int) -> dict[str, int]:
    """TRL's four numbers for a step of `prompts_per_step` × n completions in `minibatches`.

    Raises:
        UsageError: what does not divide, with both numbers.
    """
    completions = settings.prompts_per_step * n
    if completions % settings.minibatches:
        raise UsageError(
            f"{AT}.minibatches={settings.minibatches} does not divide the {completions} "
            f"completions of a step ({settings.prompts_per_step} prompts × rollout_n={n})"
        )
    minibatch = completions // settings.minibatches
    micro = settings.micro_batch or minibatch
    if minibatch % micro:
        raise UsageError(
            f"{AT}.micro_batch={micro} does not divide the {minibatch} completions of a minibatch "
            f"({completions} in {settings.minibatches})"
        )
    return {
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": minibatch // micro,
        "steps_per_generation": completions // micro,
        "num_iterations": settings.epochs,
    }


def grpo_arguments(config: Config, settings: TrlSettings, max_steps: int) -> dict[str, Any]:
    """`GRPOConfig`'s arguments that decide what is trained; the trainer adds where and how to log.

    The loss is verl's (a mean over the tokens of a batch, ``bnpo``) and its KL the plain k3 estimate; TRL's defaults
    differ (docs/deviations.md).
    """
    found: dict[str, Any] = {
        "loss_type": "bnpo",
        "use_bias_correction_kl": False,
        "scale_rewards": "group",
        "temperature": 1.0,
        "weight_decay": settings.weight_decay,
        "gradient_checkpointing": False,
        "lr_scheduler_type": "constant",
        "use_vllm": settings.use_vllm,
    }
    found |= dict(settings.arguments or {})
    for name, value in config.items():
        for target in FIELDS.get(name, (name,)):
            found[target] = value
    found["beta"] = max(float(found.get("beta", 0.0)), LEAST_BETA)
    n = found.setdefault("num_generations", ROLLOUTS)
    if n < 2:
        raise UsageError(f"rollout_n={n} must be at least 2: a group's advantages need something to compare with")
    return found | batches(settings, int(n)) | {"max_steps": max_steps * settings.updates}
