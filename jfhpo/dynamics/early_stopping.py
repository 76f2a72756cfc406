"""Early stopping on training dynamics: small rules over the curve so far, and the presets made of them.

Each rule is a pure function of the trial's curve and of its rivals' (other configurations on the same model), so a
replayed or resumed trial is judged exactly as it was the first time. Where there are no rivals, as in a single run
outside a study, the rule that compares with them stays silent.

``paper`` takes JF-HPO literally (arXiv 2606.03073): stop when KL to the reference grows by more than τ1 = 15 % per
step for k = 5 steps in a row, when the reward drops by more than τ2 = 10 % per step for 5 in a row, or when it
stays zero for 5. On noisy curves the two reward rules hardly ever fire; the KL rule fires while KL leaves zero in the
first steps, good configurations included.

``robust`` compares with windows and floors instead: the reward against its own start and against rivals at the same
step, KL against the mean of the five steps before and an absolute floor.

``scaling_law`` fits a law to the reward and stops where the rest of the run is not expected to be worth its cost: a run
that has levelled out, at the top or at the bottom. It judges a run by its own future, never against rivals.

The experiment ``early_stopping_audit`` replays every rule over recorded full runs: steps saved, and configurations of
the top three it would have stopped. ``scaling_law`` has what its namesake here saves and loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import fmean
from typing import ClassVar, Protocol

import numpy as np

from jfhpo.core.errors import unknown
from jfhpo.core.trial import StepRecord
from jfhpo.dynamics import scaling_law

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
        if not all(g > self.threshold for g in growth):  # a KL that was not measured, NaN, has not grown
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
            above = (1 + self.threshold) * before
            if not (curve[at].kl > self.floor and curve[at].kl > above):  # nor where KL was not measured: NaN
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


@dataclass(frozen=True)
class RemainingGain:
    """The expected remaining gain per unit of remaining cost lay below `threshold`, `patience` steps in a row.

    The gain is E[R(1) − R(u)] of a law fitted to the rewards so far (`jfhpo.dynamics.scaling_law`); the cost is in full
    runs, by steps: (E[R(1)] − R(u))/(1 − u), points of reward for the price of a whole run. Falling curves have none.
    Seconds would make a verdict depend on how busy the machine was.

    Before a share `warm_up` of the run is seen, or too few steps for a fit, there is no forecast and no verdict; nor is
    there without a `horizon`.
    """

    name: ClassVar[str] = "remaining_gain"
    horizon: int = 0
    """Steps of a full run; 0 where it is not known (`rules` sets it)."""
    threshold: float = 0.01
    warm_up: float = 0.25
    patience: int = 2
    law: str = scaling_law.DEFAULT
    reward_range: scaling_law.Range | None = (0.0, 1.0)
    """Where the plateau may lie. Rewards that leave it show that it is not theirs: it is not used then."""

    def judge(self, curve: Curve, rivals: Rivals = ()) -> Stop | None:
        rewards = [record.reward_mean for record in curve]
        earliest = len(rewards) - self.patience + 1
        if earliest < self.first or len(rewards) >= self.horizon:
            return None
        rate = self.rate(rewards)
        if rate >= self.threshold:
            return None
        if any(self.rate(rewards[:end]) >= self.threshold for end in range(earliest, len(rewards))):
            return None
        detail = f"expected gain {rate:+.3f} for the cost of a full run < {self.threshold:g}"
        return Stop(self.name, curve[-1].step, detail)

    @property
    def first(self) -> float:
        """Steps that a forecast needs."""
        return max(scaling_law.LEAST, self.warm_up * self.horizon)

    def rate(self, rewards: Sequence[float]) -> float:
        """Expected remaining gain by remaining cost after these rewards, in points for the cost of a full run."""
        known = self.reward_range
        inside = known is not None and known[0] <= min(rewards) and max(rewards) <= known[1]
        fitted = scaling_law.fit(rewards, self.horizon, self.law, known if inside else None)
        return fitted.remaining_gain() / (1 - len(rewards) / self.horizon)


PRESETS: dict[str, tuple[Rule, ...]] = {
    "none": (),
    "paper": (KLGrowth(), RewardDrop(), ZeroReward()),
    "robust": (RewardBelowStart(), KLRunaway(), BelowRivals()),
    "scaling_law": (RemainingGain(),),
}


def rules(preset: str, horizon: int = 0) -> tuple[Rule, ...]:
    """The rules of a preset by its name, for runs of `horizon` steps when trained in full.

    Raises:
        UsageError: for an unknown name.
    """
    if preset not in PRESETS:
        raise unknown("early_stopping preset", preset, PRESETS)
    return with_horizon(PRESETS[preset], horizon)


def with_horizon(preset: Sequence[Rule], horizon: int) -> tuple[Rule, ...]:
    """The same rules; those that look ahead are told how far."""
    return tuple(replace(rule, horizon=horizon) if isinstance(rule, RemainingGain) else rule for rule in preset)


def judge(preset: Sequence[Rule], curve: Curve, rivals: Rivals = ()) -> Stop | None:
    """The first rule's verdict on the last step, or None."""
    for rule in preset:
        if (stop := rule.judge(curve, rivals)) is not None:
            return stop
    return None
