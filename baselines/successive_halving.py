"""What Hyperband, BOHB and ASHA share: rungs and brackets, the best of a rung, resuming, the incumbent.

Symbols are those of Li et al. (2018, "Hyperband", JMLR 18, Algorithm 1): R is the most steps, η the factor by which
rungs thin out, s the bracket, i the rung in it, n_i the configurations and r_i the steps of a rung.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import cycle

import numpy as np

from jfhpo.core.errors import UsageError, check_choices, check_counts
from jfhpo.core.problem import Problem
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config, Status, TrialResult

MODELS = ("target", "proxy")
ROUNDINGS = ("up", "down")
INCUMBENTS = ("most_steps", "any_steps")


@dataclass(frozen=True)
class Rung:
    """n_i configurations, each trained up to step r_i."""

    configs: int
    steps: int


# -- the schedule --------------------------------------------------------------------------------------------------


def rung_steps(min_steps: int, max_steps: int, eta: int) -> tuple[int, ...]:
    """R η^(-s_max), …, R η^(-1), R in whole steps, with s_max = ⌊log_η(R / min_steps)⌋.

    Rounded to the nearest (halves to the even) in exact arithmetic: they rise strictly from at least `min_steps` to
    exactly `max_steps`.
    """
    s_max = 0
    while min_steps * eta ** (s_max + 1) <= max_steps:
        s_max += 1
    return tuple(round(Fraction(max_steps, eta**s)) for s in range(s_max, -1, -1))


def hyperband_brackets(steps: Sequence[int], eta: int, rounding: str = "up") -> list[tuple[Rung, ...]]:
    """Brackets s = s_max, …, 0 of Algorithm 1 over the rungs of `rung_steps`: n_i = ⌊n η^(-i)⌋, r_i = r η^i.

    With B = (s_max + 1) R, Algorithm 1 has n = ⌈(B / R) η^s / (s + 1)⌉ (rounding ``up``), as has BOHB's. The paper's
    Table 1 is of n = ⌊(B / R) / (s + 1)⌋ η^s (``down``), and so is the BOHB authors' code.
    """
    s_max = len(steps) - 1
    brackets = []
    for s in range(s_max, -1, -1):
        n = math.ceil(Fraction((s_max + 1) * eta**s, s + 1)) if rounding == "up" else (s_max + 1) // (s + 1) * eta**s
        brackets.append(tuple(Rung(n // eta**i, steps[s_max - s + i]) for i in range(s + 1)))
    return brackets


def least_steps(problem: Problem, eta: int, min_steps: int) -> int:
    """r of a method's settings. `min_steps` of 0 is the problem's first rung, or less where that leaves fewer than
    three rungs: two are hardly a halving.

    Raises:
        UsageError: for more `min_steps` than the problem has.
    """
    if min_steps > problem.max_steps:
        raise UsageError(f"method.min_steps={min_steps} is above problem.max_steps={problem.max_steps}; lower it")
    return min_steps or min(problem.rungs[0], max(problem.max_steps // eta**2, 1))


def checked_rung_steps(problem: Problem, eta: int, min_steps: int) -> tuple[int, ...]:
    """`rung_steps` from `least_steps` on."""
    return rung_steps(least_steps(problem, eta, min_steps), problem.max_steps, eta)


def check_halving(settings: object) -> None:
    """A `UsageError` for a bad value of a setting that the three methods share."""
    check_counts(settings, eta=2, min_steps=0)
    check_choices(settings, model=MODELS, incumbent=INCUMBENTS)


# -- judging results -----------------------------------------------------------------------------------------------


def ranked(results: Sequence[TrialResult]) -> list[TrialResult]:
    """The completed ones, best score first and of equal scores the one asked first.

    Only these may be promoted: a rule judged an early-stopped configuration, a failed one has no score, and neither
    was seen at the rung's steps.
    """
    completed = [result for result in results if result.status is Status.COMPLETED]
    return sorted(completed, key=lambda result: (-result.score, result.trial.id))


def incumbent(results: Sequence[TrialResult], rule: str, problem: Problem) -> Config:
    """The configuration to recommend: the best score of a completed trial at the most steps that any completed
    (``most_steps``), or at any number of steps (``any_steps``, "smallest intermediate loss seen so far").

    Where none completed, of the trials with a score the one that came furthest; where none has a score, the first
    configuration asked; before there is one, the recipe.
    """
    if not results:
        return problem.recipe

    def merit(result: TrialResult) -> tuple[float, ...]:
        completed = result.status is Status.COMPLETED
        steps = result.steps_done if rule == "most_steps" or not completed else 0
        return (completed, steps, result.score, -result.trial.id)

    scored = [result for result in results if result.score is not None]
    best = max(scored, key=merit) if scored else min(results, key=lambda result: result.trial.id)
    return best.trial.config


# -- configurations ------------------------------------------------------------------------------------------------


class RandomDraws:
    """The recipe where it is everyone's first point, then independent draws from the space."""

    def __init__(self, problem: Problem, seed: int):
        self.space = problem.space
        self.rng = np.random.default_rng(seed)
        self.first: Config | None = problem.recipe if problem.recipe_first else None
        self.drawn: set[str] = set()

    def next(self) -> Config:
        config, self.first = self.first or self.space.draw(self.rng, self.drawn), None
        self.drawn.add(config_key(config))
        return config


# -- synchronous successive halving --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Job:
    """What a bracket wants run next."""

    bracket: Bracket
    config: Config | None
    """None: a new one, in the bracket's first rung."""
    steps: int
    trained: int
    """Steps for which the configuration was trained in the rung below; 0 in the first."""


@dataclass(eq=False)
class Bracket:
    """One run of successive halving (Algorithm 1, inner loop): a rung starts when all of the one below is told."""

    rungs: Sequence[Rung]
    i: int = 0
    """The rung under way; `len(rungs)` once the bracket is over."""
    waiting: deque[Config | None] = field(init=False)
    """Configurations of the rung that were not asked yet."""
    running: int = 0
    told: list[TrialResult] = field(default_factory=list)
    """Results of the rung."""

    def __post_init__(self) -> None:
        self.waiting = deque([None] * self.rungs[0].configs)

    @property
    def over(self) -> bool:
        return self.i == len(self.rungs)

    def start(self) -> Job:
        """The next job of the rung under way; one has to be `waiting`."""
        self.running += 1
        trained = self.rungs[self.i - 1].steps if self.i else 0
        return Job(self, self.waiting.popleft(), self.rungs[self.i].steps, trained)

    def observe(self, result: TrialResult) -> None:
        self.running -= 1
        self.told.append(result)
        if not self.waiting and not self.running:
            self._promote()

    def _promote(self) -> None:
        """T = top_k(T, L, ⌊n_i / η⌋). Fewer where fewer completed; the bracket is over where none did."""
        self.i += 1
        if not self.over:
            self.waiting.extend(best.trial.config for best in ranked(self.told)[: self.rungs[self.i].configs])
        if not self.waiting:
            self.i = len(self.rungs)
        self.told = []


class Brackets:
    """Hyperband's outer loop: the brackets in turn, again and again.

    While a bracket waits for its rung to be told the next one begins, so that no worker is idle. Of what waits in the
    open brackets the fewest steps go first, and of equal ones the oldest bracket's; a new bracket begins only when
    nothing waits (Falkner et al. 2018, section 4.2). The jobs are a function of the order in which results were told.
    """

    def __init__(self, brackets: Sequence[Sequence[Rung]]):
        self.to_come = cycle(brackets)
        self.open: list[Bracket] = []
        self.of_trial: dict[int, Bracket] = {}
        """Pending trial -> its bracket."""

    def next_job(self) -> Job:
        waiting = [bracket for bracket in self.open if bracket.waiting]
        if not waiting:
            waiting = [Bracket(next(self.to_come))]
            self.open += waiting
        return min(waiting, key=lambda bracket: bracket.rungs[bracket.i].steps).start()

    def started(self, trial_id: int, job: Job) -> None:
        self.of_trial[trial_id] = job.bracket

    def observe(self, result: TrialResult) -> None:
        bracket = self.of_trial.pop(result.trial.id)
        bracket.observe(result)
        if bracket.over:
            self.open.remove(bracket)
