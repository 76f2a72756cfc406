"""From a configuration to `GRPOConfig`'s arguments, checked before anything is loaded.

A step of a study is one round of sampling and all the updates on it: ``minibatches × epochs`` optimizer steps of TRL's,
which counts those. So a study of 50 steps with 4 minibatches is a TRL run of 200, and TRL's schedule spans these 200.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.trial import Config
from jfhpo.tasks.grpovi import ADVANTAGES, TIES

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
class TrlSettings:
    """``problem.trainer_settings`` of the TRL trainer."""

    prompts_per_step: int = 16
    minibatches: int = 2
    epochs: int = 1
    """Passes over a step's rollouts (TRL's ``num_iterations``)."""
    micro_batch: int | None = None
    """Completions per forward pass; None: a whole minibatch."""
    weight_decay: float = 0.01
    max_completion_length: int | None = None
    """In tokens; None: what the generated task needs (real data needs a number)."""
    lora: Mapping[str, Any] | None = None
    """Arguments of `peft.LoraConfig`; None: all weights are trained."""
    use_vllm: bool = False
    """Sampling by vLLM, on a GPU."""
    arguments: Mapping[str, Any] | None = None
    """More arguments of `GRPOConfig`, as they are."""
    extraction: str = "strict"
    """Where the reward looks for an answer (`jfhpo.tasks.datasets.definitions.EXTRACTIONS`)."""
    reward: str = "exact"
    """What training is rewarded for: the exact answer, or ``graded``, every right working step (`jfhpo.tasks.graded`),
    for a task that has it. Evaluation is always of the exact answer."""
    advantage: str = "grpo"
    """That of a configuration without this hyperparameter: ``grpo`` or ``grpovi``."""
    reward_bounds: tuple[float, float] = (0.0, 1.0)
    """GRPOVI's m and M; no reward may lie outside."""
    grpovi_ties: str = "equal"
    """GRPOVI on equal rewards: they stay ``equal``, or their ``position`` in the group decides."""

    @property
    def updates(self) -> int:
        """Optimizer steps of TRL's per step of the study."""
        return self.minibatches * self.epochs

    def check(self) -> None:
        """A `UsageError` for what can be no setting."""
        for name in ("prompts_per_step", "minibatches", "epochs"):
            value = getattr(self, name)
            if not isinstance(value, int) or value < 1:
                raise UsageError(f"problem.trainer_settings.{name}={value} must be a whole number from 1 on")
        for name, allowed in (("reward", REWARDS), ("advantage", ADVANTAGES), ("grpovi_ties", TIES)):
            if getattr(self, name) not in allowed:
                raise unknown(f"problem.trainer_settings.{name}", getattr(self, name), allowed)
        for name in self.arguments or {}:
            if name in OWN:
                raise UsageError(f"problem.trainer_settings.arguments.{name} is decided by the study; leave it out")


def batches(settings: TrlSettings, n: int) -> dict[str, int]:
    """TRL's four numbers for a step of `prompts_per_step` × n completions in `minibatches`.

    Raises:
        UsageError: what does not divide, with both numbers.
    """
    completions = settings.prompts_per_step * n
    if completions % settings.minibatches:
        raise UsageError(
            f"problem.trainer_settings.minibatches={settings.minibatches} does not divide the {completions} "
            f"completions of a step ({settings.prompts_per_step} prompts × rollout_n={n})"
        )
    minibatch = completions // settings.minibatches
    micro = settings.micro_batch or minibatch
    if minibatch % micro:
        raise UsageError(
            f"problem.trainer_settings.micro_batch={micro} does not divide the {minibatch} completions of a minibatch "
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
    n = found.setdefault("num_generations", 8)
    if n < 2:
        raise UsageError(f"rollout_n={n} must be at least 2: a group's advantages need something to compare with")
    return found | batches(settings, int(n)) | {"max_steps": max_steps * settings.updates}
