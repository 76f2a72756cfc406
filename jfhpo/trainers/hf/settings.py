"""``problem.trainer_settings`` of the engines on Hugging Face models: how they are checked, and what GRPO's share.

TRL and verl run the same GRPO under other names. What both have to be told is said once, in `GrpoSettings`; each adds
what only it has.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks.grpovi import ADVANTAGES, TIES

AT = "problem.trainer_settings"
ROLLOUTS = 8
"""Completions per prompt where neither the configuration nor the problem says."""


@dataclass(frozen=True)
class GrpoSettings:
    prompts_per_step: int = 16
    minibatches: int = 2
    epochs: int = 1
    """Passes over a step's rollouts (TRL's ``num_iterations``, verl's ``ppo_epochs``)."""
    micro_batch: int | None = None
    """Completions per forward pass and GPU; None: a whole minibatch."""
    weight_decay: float = 0.01
    max_completion_length: int | None = None
    """In tokens; None: what the generated task needs (real data needs a number)."""
    held_out_prompts: int | None = None
    """Validation and test look at the first so many prompts of their splits; None: all. On a CPU verl takes about
    40 ms for a response, however short."""
    extraction: str = "strict"
    """Where the reward looks for an answer (`jfhpo.tasks.datasets.definitions.EXTRACTIONS`)."""
    advantage: str = "grpo"
    """That of a configuration without this hyperparameter: ``grpo`` or ``grpovi``."""
    reward_bounds: tuple[float, float] = (0.0, 1.0)
    """GRPOVI's m and M; no reward may lie outside."""
    grpovi_ties: str = "equal"
    """GRPOVI on equal rewards: they stay ``equal``, or their ``position`` in the group decides."""

    def check(self) -> None:
        """A `UsageError` for what can be no setting."""
        check_counts(
            self,
            "prompts_per_step",
            "minibatches",
            "epochs",
            "micro_batch",
            "max_completion_length",
            "held_out_prompts",
        )
        check_choices(self, advantage=ADVANTAGES, grpovi_ties=TIES)


def check_counts(settings: Any, *names: str, least: int = 1) -> None:
    """A `UsageError` for a setting that is no whole number from `least` on, nor None where that is its default."""
    for name in names:
        value, or_null = getattr(settings, name), getattr(type(settings), name) is None
        if value is None and or_null:
            continue
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            allowed = f"a whole number from {least} on{', or null' if or_null else ''}"
            raise UsageError(f"{AT}.{name}={value} must be {allowed}")


def check_choices(settings: Any, **allowed: Collection[str]) -> None:
    """A `UsageError` for a setting that is none of its valid ones."""
    for name, valid in allowed.items():
        if getattr(settings, name) not in valid:
            raise unknown(f"{AT}.{name}", getattr(settings, name), valid)


def check_undecided(arguments: Mapping[str, Any] | None, decided: Collection[str]) -> None:
    """A `UsageError` for an argument of the library's that the trainer decides itself."""
    for name in arguments or {}:
        if name in decided:
            raise UsageError(f"{AT}.arguments.{name} is decided by the study; leave it out")


def tried(spec: Mapping[str, Any]) -> list[Any]:
    """Of a hyperparameter of the space: the values of its list, or the ends of its range."""
    return list(spec.get("values") or [spec[end] for end in ("low", "high") if spec.get(end) is not None])
