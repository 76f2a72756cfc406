"""A family of learning curves with a known optimum: what accuracy a configuration reaches, without training.

Accuracy rises with steps towards a ceiling that is a parabola in log lr (its best value ∝ 1/width, and shifted on the
proxy: the bias), falls with the KL coefficient's distance from its best, and collapses above a learning rate that is
nearer to the best one on the target. More rollouts are a little better and cost more; a cosine schedule is a little
worse. Costs are proportional to size × steps × rollouts.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np

from jfhpo.core.problem import ModelSize
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Cost, StepRecord

SMALL, LARGE = ModelSize("p", 50_000, 48, 1.0), ModelSize("l", 250_000, 128, 5.0)
CHANCE, CEILING = 0.13, 0.93
"""What a collapsed run answers right, and the ceiling with 8 rollouts and everything else at its best."""
RISE = 8
"""Steps in which the distance to the ceiling shrinks by a factor e."""
COLLAPSE, COLLAPSE_OF_TARGET = 1.3, 1.0
"""Decades above the best learning rate at which training breaks."""
KNOWN = ("lr", "kl_loss_coef", "rollout_n", "lr_scheduler")


@dataclass(frozen=True)
class Landscape:
    """One member of the family."""

    best_lr: float = 1e-3
    """On the target."""
    best_kl: float = 0.02
    bias: float = 0.25
    """Decades by which the proxy's best learning rate lies above what widths say."""

    @classmethod
    def draw(cls, seed: int, bias: float) -> Landscape:
        """The optimum anywhere in the inner part of the search space, and the bias to either side."""
        rng = np.random.default_rng(seed)
        lr, kl = 10 ** rng.uniform(-4, -2), 10 ** rng.uniform(-2.5, -0.8)
        return cls(float(lr), float(kl), float(bias * rng.choice([-1, 1])))

    def accuracy(self, config: Config, model: str, steps: int) -> float:
        """Without noise; `config` as it is trained on this model. In other spaces than the problem's own, what is
        missing is at its best, and every other hyperparameter has some effect of its own."""
        size, bias = (SMALL, self.bias) if model == "p" else (LARGE, 0.0)
        off = math.log10(config["lr"] / self.best_lr * size.width / LARGE.width) - bias if "lr" in config else 0.0
        if off > (COLLAPSE_OF_TARGET if model == LARGE.name else COLLAPSE):
            return CHANCE
        ceiling = CEILING - 0.18 * off**2
        ceiling -= 0.03 * math.log10(config.get("kl_loss_coef", self.best_kl) / self.best_kl) ** 2
        ceiling += 0.01 * math.log2(config.get("rollout_n", 8) / 8) - 0.01 * (config.get("lr_scheduler") == "cosine")
        ceiling -= sum(0.1 * _share(f"{name}={value}") for name, value in config.items() if name not in KNOWN)
        return CHANCE + max(0.0, ceiling - CHANCE) * (1 - math.exp(-steps / RISE))

    def observed(self, config: Config, model: str, steps: int, noise: float, seed: int | None = None) -> float:
        """With noise that belongs to the point (and the seed): the same run measured twice gives the same."""
        word = f"{config_key(config)} {model} {steps}" + ("" if seed is None else f" {seed}")
        rng = np.random.default_rng(int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little"))
        return self.accuracy(config, model, steps) + noise * rng.standard_normal()

    def record(self, config: Config, model: str, step: int, validation: float | None) -> StepRecord:
        reward = self.accuracy(config, model, step)
        if reward == CHANCE:  # a collapse: from a good start down to chance
            reward = CHANCE + 0.2 * max(0.0, 1 - step / 3)
        rate = config.get("lr", self.best_lr)
        return StepRecord(step, reward, 0.01, 0.3, 1.0, 0.0, 10.0, rate, 0.0, step_cost(config, model), validation)


def optimum(steps: int) -> float:
    """The greatest accuracy on any landscape: 16 rollouts, a constant schedule."""
    return CHANCE + (CEILING + 0.01 - CHANCE) * (1 - math.exp(-steps / RISE))


def _share(word: str) -> float:
    """A number from 0 to 1 that belongs to the word."""
    return int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "little") / 2**64


def step_cost(config: Config, model: str) -> Cost:
    size = SMALL if model == "p" else LARGE
    n = config.get("rollout_n", 8)
    tokens = 100 * n
    return Cost(size.relative_cost * n / 8, tokens, 2.0 * size.parameters * tokens)
