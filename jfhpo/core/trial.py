"""What is tried and what comes back: `Fidelity`, `Trial`, `StepRecord`, `Cost`, `TrialResult`."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Config = Mapping[str, Any]
"""A point φ of the search space: hyperparameter name -> plain Python value."""


@dataclass(frozen=True)
class Fidelity:
    """How faithfully a trial imitates the run that counts: on which model, for how many steps."""

    model: str
    """A size of the problem's family, e.g. ``p``."""
    steps: int
    """Optimizer steps r from the base model, counted from 1."""


@dataclass(frozen=True)
class Trial:
    """Train this configuration on this model up to this step."""

    id: int
    """Counted from 0 in the order of asking."""
    config: Config
    fidelity: Fidelity
    seed: int
    """Seed of the training run: prompt order and sampling (`jfhpo.core.seeds.training_seed` of the study's)."""
    resume_from: int = 0
    """Step of a checkpoint of the same configuration and model that the trial may start from; 0 for the base.
    The study falls back to an earlier checkpoint, or to the base, where that one is gone."""
    validate_at: tuple[int, ...] = ()
    """Steps at which validation is wanted besides the last one."""

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self) | {"config": dict(self.config), "validate_at": list(self.validate_at)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        return cls(**{**data, "fidelity": Fidelity(**data["fidelity"]), "validate_at": tuple(data["validate_at"])})


@dataclass(frozen=True)
class Cost:
    """What something took. Costs add up."""

    seconds: float = 0.0
    """Seconds the trial held its device: CPU time of a single-threaded trainer, wall time on a GPU."""
    tokens: int = 0
    """Completion tokens sampled."""
    flops: float = 0.0
    """Floating-point operations by the 2·N per token rule (Kaplan et al. 2020, Table 1); a function of the
    trial alone, so a study whose budget is in FLOPs can be repeated exactly."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.seconds + other.seconds, self.tokens + other.tokens, self.flops + other.flops)

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.seconds - other.seconds, self.tokens - other.tokens, self.flops - other.flops)

    def of(self, unit: str) -> float:
        """The cost in one budget unit: ``seconds``, ``tokens`` or ``flops``."""
        return float(getattr(self, unit))


COST_UNITS = tuple(f.name for f in dataclasses.fields(Cost))


@dataclass(frozen=True)
class StepRecord:
    """One optimizer step, as every trainer reports it."""

    step: int
    """Global step, counted from 1."""
    reward_mean: float
    """Mean reward of the sampled completions, before the update."""
    kl: float
    """KL divergence to the reference policy in nats per token (k3 estimator)."""
    entropy: float
    """Mean entropy of the policy in nats per token."""
    grad_norm: float
    """Norm of the gradient before clipping, mean over the step's updates."""
    clip_fraction: float
    """Share of completion tokens whose ratio was clipped."""
    completion_length: float
    """Mean completion length in tokens, end-of-sequence included."""
    learning_rate: float
    """Learning rate of this step's updates."""
    loss: float
    """Mean loss of the step's updates."""
    cost: Cost
    """Cost of this step alone, its validation included."""
    val_accuracy: float | None = None
    """Accuracy on the validation split after this step, sampled at temperature 1; None where not validated. A trainer
    that is judged by a loss has exp(−loss) here."""
    measured: Mapping[str, float] = field(default_factory=dict)
    """What else the trainer measured after this step, by name: for analyses. No rule and no method looks at it."""

    def to_json(self) -> dict[str, Any]:
        """Plain data. Not by `dataclasses.asdict`, whose deep copies were a quarter of a replayed study's time."""
        return {**vars(self), "cost": dict(vars(self.cost))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> StepRecord:
        return cls(**{**data, "cost": Cost(**data["cost"])})


class Status(str, enum.Enum):
    COMPLETED = "completed"
    """Reached the fidelity asked for."""
    EARLY_STOPPED = "early_stopped"
    """A rule on the training dynamics stopped it: a judgement on the configuration."""
    CUT = "cut"
    """The study's budget ended first: no judgement on the configuration."""
    FAILED = "failed"
    """Diverged, crashed, ran out of memory or time. Its cost counts, its score never does."""


@dataclass(frozen=True)
class TrialResult:
    """What a trial left behind, priced with and without checkpoint reuse."""

    trial: Trial
    status: Status
    reason: str
    """Why it ended as it did, e.g. the rule that fired with its values; empty when completed."""
    steps_done: int
    """Global step reached, those before `resumed_from` included."""
    score: float | None
    """Validation accuracy at `steps_done`; None where the trial failed."""
    curve: tuple[StepRecord, ...]
    """Steps 1 … `steps_done`, those before the resume included where they are known."""
    cost: Cost
    """Cost of what was really run: steps since `resumed_from`, start-up, validation and saving."""
    cost_from_scratch: Cost
    """What it would have cost from the base model."""
    resumed_from: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain data without trial and curve, which are recorded as events of their own."""
        return {
            "trial": self.trial.id,
            "status": self.status.value,
            "reason": self.reason,
            "steps_done": self.steps_done,
            "score": self.score,
            "resumed_from": self.resumed_from,
            "cost": vars(self.cost),
            "cost_from_scratch": vars(self.cost_from_scratch),
        }

    def validations(self) -> list[tuple[int, float]]:
        """``(step, accuracy)`` of every validation on the curve."""
        return [(r.step, r.val_accuracy) for r in self.curve if r.val_accuracy is not None]
