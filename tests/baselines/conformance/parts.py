"""What the conformance tests share: every method of the table, how a trial may end, and how to drive a method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import LR, Problem
from jfhpo.core.trial import Config, Cost, Status, Trial, TrialResult
from jfhpo.study.methods import method, methods
from tests.method.synthetic import World, problem

METHODS = sorted(methods())
FEW = {
    "initial": 3,
    "configs": 3,
    "raw_samples": 16,
    "restarts": 2,
    "candidates": 8,
    "min_points": 4,
    "retrain_after": 4,
}
"""Settings that keep a method quick and let its model take over early, for those that have them."""
FIT_ITERATIONS = 5


def check(column: str) -> Callable[[Callable], Callable]:
    """A test of every method (its argument `name`), counted in this column of the table at the end."""

    def decorate(test: Callable) -> Callable:
        return pytest.mark.check(column)(pytest.mark.parametrize("name", METHODS)(test))

    return decorate


def make(name: str, of: Problem | None = None, seed: int = 0) -> Optimizer:
    cls = method(name)
    few = {f.name: FEW[f.name] for f in dataclasses.fields(cls.Settings) if f.name in FEW}
    return cls(of or problem(), seed=seed, settings=cls.Settings(**few))


def run(name: str, world: World, trials: int = 6, **kwargs: Any) -> tuple[Optimizer, list[Trial]]:
    """A method, and its trials one after the other."""
    optimizer = make(name, **kwargs)
    return optimizer, [result.trial for result in world.drive(optimizer, trials=trials)]


# -- how a trial may end


def completed(world: World, trial: Trial) -> TrialResult:
    return world.run(trial)


def early_stopped(world: World, trial: Trial) -> TrialResult:
    result = _short(world, trial, (trial.resume_from + trial.fidelity.steps) // 2)
    reason = f"zero_reward at step {result.steps_done}"
    score = world.observe(trial, result.steps_done)
    return dataclasses.replace(result, status=Status.EARLY_STOPPED, reason=reason, score=score)


def cut(world: World, trial: Trial) -> TrialResult:
    """The budget ended one step after the trial began, before any validation."""
    return dataclasses.replace(_short(world, trial, trial.resume_from + 1), status=Status.CUT, score=None)


def failed(world: World, trial: Trial) -> TrialResult:
    """Out of memory on the way, after steps that cost something."""
    result = _short(world, trial, trial.fidelity.steps)
    return dataclasses.replace(result, status=Status.FAILED, reason="out of memory", score=None)


def failed_at_once(world: World, trial: Trial) -> TrialResult:
    """Before its first step, at no cost."""
    return TrialResult(trial, Status.FAILED, "no such device", 0, None, (), Cost(), Cost())


def diverged(world: World, trial: Trial) -> TrialResult:
    """Its last step is not a number, as the trainer reported it."""
    result, nan = failed(world, trial), math.nan
    last = dataclasses.replace(result.curve[-1], reward_mean=nan, kl=nan, entropy=nan, grad_norm=math.inf, loss=nan)
    return dataclasses.replace(result, curve=(*result.curve[:-1], last), reason="loss is nan")


def _short(world: World, trial: Trial, steps: int) -> TrialResult:
    """The trial as far as `steps`, at least one beyond where it resumed."""
    return world.run(trial, cut_at=max(steps, trial.resume_from + 1))


ENDINGS = (failed_at_once, completed, early_stopped, diverged, completed, cut, failed, completed)
"""In the order of asking, over and over."""


def mixed(world: World, trial: Trial) -> TrialResult:
    return ENDINGS[trial.id % len(ENDINGS)](world, trial)


# -- what a proposal may be


def refuses(name: str, of: Problem) -> bool:
    return method(name).unsupported(of) is not None


def assert_lies_in_the_problem(of: Problem, trial: Trial) -> None:
    """A whole fidelity of the problem, and exactly the active hyperparameters, each within its range; a learning rate
    may have been mapped by width."""
    of.check_fidelity(trial.fidelity)
    for steps in (trial.fidelity.steps, trial.resume_from, *trial.validate_at):
        assert type(steps) is int
    assert 0 <= trial.resume_from < trial.fidelity.steps
    assert all(trial.resume_from < step <= trial.fidelity.steps for step in trial.validate_at)
    config = dict(trial.config)
    if LR in config and "low" in of.space.specs[LR]:
        low, high = of.space.specs[LR]["low"], of.space.specs[LR]["high"]
        scale = of.map_lr({LR: 1.0}, of.target, trial.fidelity.model)[LR]
        rounding = 1e-9
        assert low * min(scale, 1.0) * (1 - rounding) <= config[LR] <= high * max(scale, 1.0) * (1 + rounding)
        config[LR] = min(max(config[LR], low), high)
    assert of.space.validate(config) == config


def assert_runs(of: Problem, config: Config, trials: Iterable[Trial]) -> None:
    """One of the trials ran this configuration, its learning rate as it is or mapped by width."""
    ways = [dict(config), *(of.map_lr(config, of.target, model) for model in of.models)]
    assert any(_near(trial.config, way) for trial in trials for way in ways), f"{config} never ran"


def _near(one: Config, other: Config) -> bool:
    rest = [{name: value for name, value in config.items() if name != LR} for config in (one, other)]
    return rest[0] == rest[1] and (LR not in one or math.isclose(one[LR], other[LR], rel_tol=1e-9))


def parallel(
    optimizer: Optimizer, world: World, workers: int, trials: int, end: Callable[[World, Trial], TrialResult] = mixed
) -> Iterator[tuple[str, Any]]:
    """What happens with so many workers that finish in turns, the youngest first: ("ask", trial or None) and
    ("tell", result), until nothing more is to be done. A None while nothing is pending ends it."""
    asked = 0
    while True:
        while len(optimizer.pending) < workers and asked < trials:
            trial = optimizer.ask()
            yield "ask", trial
            if trial is None:
                break
            asked += 1
        if not optimizer.pending:
            return
        result = end(world, optimizer.pending[max(optimizer.pending)])
        optimizer.tell(result)
        yield "tell", result


def future(optimizer: Optimizer, world: World) -> list[Any]:
    """Everything that can be seen of a method: what it recommends and proposes from here, trial by trial."""
    seen: list[Any] = [optimizer.recommend(), sorted(optimizer.pending), optimizer.summary()]
    for _ in range(3):
        if (trial := optimizer.ask()) is None:
            break
        seen.append(trial)
        optimizer.tell(world.run(trial))
    return [*seen, optimizer.recommend(), optimizer.summary()]
