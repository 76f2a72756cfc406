"""`Problem`: what a study is about. Plain data, the same for every method that is compared on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.space import SearchSpace
from jfhpo.core.trial import COST_UNITS, Config, Fidelity

LR = "lr"
"""The hyperparameter that width mapping acts on."""


@dataclass(frozen=True)
class ModelSize:
    """One size of a model family."""

    name: str
    parameters: int
    width: int
    """Hidden size d: the learning rate is mapped between sizes by it (lr ∝ 1/d, µP for Adam)."""
    relative_cost: float
    """Cost per training step relative to the family's smallest: a first guess, replaced by the study's own
    timings as soon as a trial of that size was run."""


@dataclass(frozen=True)
class Problem:
    name: str
    task: str
    space: SearchSpace
    family: tuple[ModelSize, ...]
    """Ordered by parameters."""
    proxy: str
    target: str
    max_steps: int
    """r_max: steps of a full run and horizon of the learning-rate schedule, whatever a trial's own budget."""
    rungs: tuple[int, ...]
    """Step fidelities worth asking for, rising, the last one `max_steps`."""
    recipe: Config
    """The VeRL recipe in this space, its learning rate meant for the target."""
    trainer: str = "mini"
    trainer_settings: Mapping[str, Any] = field(default_factory=dict)
    cost_unit: str = "seconds"
    """What budgets and expected costs are counted in."""
    recipe_first: bool = True
    """Whether every method's first point is the recipe: one switch for all of them."""
    extra_models: tuple[str, ...] = ()
    """More sizes that trials may use, besides proxy and target."""

    def __post_init__(self) -> None:
        sizes = [m.name for m in self.family]
        extra = [("extra", name) for name in self.extra_models]
        for role, name in (("proxy", self.proxy), ("target", self.target), *extra):
            if name not in sizes:
                raise unknown(f"{role} model", name, sizes)
        if self.model(self.proxy).parameters > self.model(self.target).parameters:
            raise UsageError(f"problem.proxy={self.proxy} is larger than problem.target={self.target}; swap them")
        if self.cost_unit not in COST_UNITS:
            raise unknown("budget unit", self.cost_unit, COST_UNITS)
        if self.max_steps < 1:
            raise UsageError(f"problem.max_steps={self.max_steps} must be at least 1")
        if not self.rungs or list(self.rungs) != sorted(set(self.rungs)) or self.rungs[0] < 1:
            raise UsageError(f"problem.rungs={list(self.rungs)} must be a rising list of steps from 1 on")
        if self.rungs[-1] > self.max_steps:
            raise UsageError(f"problem.rungs: {self.rungs[-1]} is above problem.max_steps={self.max_steps}; lower it")
        if self.rungs[-1] < self.max_steps:
            raise UsageError(f"problem.rungs must end at problem.max_steps={self.max_steps}, not at {self.rungs[-1]}")
        self.space.validate(self.recipe)

    def model(self, name: str) -> ModelSize:
        for size in self.family:
            if size.name == name:
                return size
        raise unknown("model", name, [m.name for m in self.family])

    @property
    def models(self) -> tuple[str, ...]:
        """The sizes that trials may use, smallest first."""
        usable = {self.proxy, self.target, *self.extra_models}
        return tuple(m.name for m in self.family if m.name in usable)

    @property
    def full(self) -> Fidelity:
        """The fidelity that counts: the target for `max_steps`."""
        return Fidelity(self.target, self.max_steps)

    def check_fidelity(self, fidelity: Fidelity) -> None:
        """A `UsageError` for a model that trials may not use, or steps outside 1 to `max_steps`."""
        if fidelity.model not in self.models:
            raise unknown("model", fidelity.model, self.models)
        if not 1 <= fidelity.steps <= self.max_steps:
            raise UsageError(f"fidelity of {fidelity.steps} steps is outside 1 to max_steps={self.max_steps}")

    def initial_design(self, rng: np.random.Generator, count: int) -> list[Config]:
        """The recipe where it is everyone's first point, then a scrambled Sobol sequence: `count` in all."""
        first = [dict(self.recipe)] if self.recipe_first else []
        spread = self.space.spread(rng, count)
        if self.space.listed is not None:  # the recipe is one of few: it need not be tried twice
            spread = [config for config in spread if config not in first]
        return (first + spread)[:count]

    def map_lr(self, config: Config, source: str, to: str) -> dict[str, Any]:
        """The configuration with its learning rate carried from one model size to another, lr ∝ 1/width."""
        if LR not in config:
            return dict(config)
        scale = self.model(source).width / self.model(to).width
        return dict(config) | {LR: config[LR] * scale}
