"""Early stopping on training dynamics: small rules over the curve so far, and the presets made of them.

Each rule is a pure function of the trial's curve and of its rivals' (other configurations on the same model), so a
replayed or resumed trial is judged exactly as it was the first time. Where there are no rivals, as in a single run
outside a study, the rule that compares with them stays silent.

``paper`` takes JF-HPO literally (arXiv 2606.03073): stop when KL to the reference grows by more than τ1 = 15 % per
step for k = 5 steps in a row, when the reward drops by more than τ2 = 10 % per step for 5 in a row, or when it
stays zero for 5. On noisy curves the two reward rules hardly ever fire; the KL rule fires while KL leaves zero in the
first steps, good configurations included.

``robust`` compares with windows and floors instead: the reward against its own start and against rivals at the same
step, KL against the mean of the five steps before and an absolute floor. The experiment ``early_stopping_audit``
replays every rule over recorded full runs: steps saved, and configurations of the top three it would have stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import ClassVar, Protocol

import numpy as np

from jfhpo.core.errors import unknown
from jfhpo.core.trial import StepRecord

Curve = Sequence[StepRecord]
"""Steps 1, 2, ... of one trial; entry i is step i + 1."""
Rivals = Sequence[Curve]
"""Curves of other configurations on the same model, one each; they may be shorter than the curve that is judged."""
TINY = 1e-12


@dataclass(frozen=True)
class Stop:
    """A rule's verdict, with the values that led to it."""

    rule: str
    step: int
    detail: str

    def __str__(self) -> str:
        return f"{self.rule} at step {self.step}: {self.detail}"


class Rule(Protocol):
    name: ClassVar[str]
    """What its verdicts are recorded under."""

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        """A verdict on the last step of the curve, or None to go on."""
        ...


@dataclass(frozen=True)
class KLGrowth:
    """KL grew by more than `threshold` of its previous value, `patience` steps in a row."""

    name: ClassVar[str] = "kl_growth"
    threshold: float = 0.15
    patience: int = 5

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        if len(curve) <= self.patience:
            return None
        recent = [r.kl for r in curve[-self.patience - 1 :]]
        growth = [(b - a) / max(abs(a), TINY) for a, b in pairwise(recent)]
        if not all(g > self.threshold for g in growth):  # KL that is not measured is NaN: no growth
            return None
        return Stop(
            self.name, curve[-1].step, f"KL {recent[0]:.4g} -> {recent[-1]:.4g}, at least {min(growth):+.0%} a step"
        )


@dataclass(frozen=True)
class RewardDrop:
    """The reward fell by more than `threshold` of its previous value, `patience` steps in a row."""

    name: ClassVar[str] = "reward_drop"
    threshold: float = 0.10
    patience: int = 5

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        if len(curve) <= self.patience:
            return None
        recent = [r.reward_mean for r in curve[-self.patience - 1 :]]
        drops = [(a - b) / max(abs(a), TINY) for a, b in pairwise(recent)]
        if min(drops) <= self.threshold:
            return None
        return Stop(self.name, curve[-1].step, f"reward {recent[0]:.3f} -> {recent[-1]:.3f}")


@dataclass(frozen=True)
class ZeroReward:
    """The reward was not above zero `patience` steps in a row."""

    name: ClassVar[str] = "zero_reward"
    patience: int = 5

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        recent = curve[-self.patience :]
        if len(recent) < self.patience or any(r.reward_mean > 0 for r in recent):
            return None
        return Stop(self.name, curve[-1].step, f"no reward in {self.patience} steps")


@dataclass(frozen=True)
class RewardBelowStart:
    """The reward stayed below `fraction` of its mean over the first `start` steps, `patience` steps in a row.

    A collapsed policy does not earn zero: it sits at chance, below where it began.
    """

    name: ClassVar[str] = "reward_below_start"
    fraction: float = 0.9
    start: int = 3
    patience: int = 5

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        if len(curve) < self.start + self.patience:
            return None
        floor = self.fraction * fmean(r.reward_mean for r in curve[: self.start])
        recent = [r.reward_mean for r in curve[-self.patience :]]
        if max(recent) >= floor:
            return None
        return Stop(self.name, curve[-1].step, f"best of the last {self.patience} {max(recent):.3f} < {floor:.3f}")


@dataclass(frozen=True)
class KLRunaway:
    """KL above both `floor` and (1 + `threshold`) times the mean of the `window` steps before, `patience` in a row."""

    name: ClassVar[str] = "kl_runaway"
    threshold: float = 0.15
    floor: float = 0.2
    window: int = 5
    patience: int = 5

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        if len(curve) < self.window + self.patience:
            return None
        for back in range(self.patience):
            at = len(curve) - 1 - back
            before = fmean(r.kl for r in curve[at - self.window : at])
            if not curve[at].kl > max(self.floor, (1 + self.threshold) * before):  # NaN: not measured
                return None
        return Stop(
            self.name, curve[-1].step, f"KL {curve[-1].kl:.3g} nats, {self.patience} steps above its recent mean"
        )


@dataclass(frozen=True)
class BelowRivals:
    """No progress against rivals: the best reward so far lies below a quantile of the rivals' running averages up to
    the same step.

    The median stopping rule of Golovin et al. 2017 (Google Vizier, section 3.2.2), with two changes for noisy rewards
    of a few hundred samples. The best is that of means over `window` steps, since the best single step of a flat
    curve rises with its length by luck alone. And the bar is the lower quartile instead of the median: what is to go
    is what hopelessly lags, while the middle may still cross over. A running average lags behind the curve it belongs
    to, so a configuration that learns late is given time.

    A rival counts if it has reached the step, however it ended; below `least` of them, and before `warm_up` steps,
    nothing is judged. A tie with the bar is not below it.
    """

    name: ClassVar[str] = "below_rivals"
    quantile: float = 0.25
    warm_up: int = 10
    window: int = 5
    least: int = 5

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        step = len(curve)
        if step < max(self.warm_up, self.window):
            return None
        averages = [fmean(r.reward_mean for r in rival[:step]) for rival in rivals if len(rival) >= step]
        if len(averages) < self.least:
            return None
        ends = range(self.window, step + 1)
        best = max(fmean(r.reward_mean for r in curve[end - self.window : end]) for end in ends)
        bar = float(np.quantile(averages, self.quantile))
        if best >= bar:
            return None
        return Stop(
            self.name,
            curve[-1].step,
            f"best reward {best:.3f} < {bar:.3f}, the {self.quantile:.0%} quantile of {len(averages)} rivals",
        )


PRESETS: dict[str, tuple[Rule, ...]] = {
    "none": (),
    "paper": (KLGrowth(), RewardDrop(), ZeroReward()),
    "robust": (RewardBelowStart(), KLRunaway(), BelowRivals()),
}


def rules(preset: str) -> tuple[Rule, ...]:
    if preset not in PRESETS:
        raise unknown("early_stopping preset", preset, PRESETS)
    return PRESETS[preset]


def judge(preset: Sequence[Rule], curve: Curve, rivals: Rivals = ()) -> Stop | None:
    """The first rule's verdict on the last step, or None."""
    for rule in preset:
        if (stop := rule.judge(curve, rivals)) is not None:
            return stop
    return None
