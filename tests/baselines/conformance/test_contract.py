"""What every method owes the study: what it says of itself, and results that cannot be, refused without a trace."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Cost, Fidelity, Status, TrialResult
from jfhpo.dynamics.early_stopping import PRESETS
from jfhpo.study.methods import method
from tests.baselines.conformance.parts import METHODS, check, future, make
from tests.method.synthetic import World, problem


@check("its word to the study")
def test_it_says_what_the_study_needs_to_know(name):
    optimizer = method(name)(problem(), seed=3)
    assert (optimizer.name, optimizer.seed) == (name, 3)
    assert optimizer.early_stopping in PRESETS
    assert isinstance(optimizer.checkpoint_reuse, bool)
    assert dataclasses.is_dataclass(optimizer.Settings)
    assert optimizer.summary() == {}


def changed(**fields: Any) -> Callable[[TrialResult], TrialResult]:
    return lambda result: dataclasses.replace(result, **fields)


def of_trial(**fields: Any) -> Callable[[TrialResult], TrialResult]:
    return lambda result: dataclasses.replace(result, trial=dataclasses.replace(result.trial, **fields))


def last_step(**fields: Any) -> Callable[[TrialResult], TrialResult]:
    """With the last record of the curve changed."""
    return lambda r: dataclasses.replace(r, curve=(*r.curve[:-1], dataclasses.replace(r.curve[-1], **fields)))


def another_config(result: TrialResult) -> TrialResult:
    return of_trial(config={**result.trial.config, "kl_loss_coef": 0.4321})(result)


BAD_RESULTS: dict[str, tuple[Callable[[TrialResult], TrialResult], str]] = {
    "never asked": (of_trial(id=999), "trial 999 was never asked"),
    "asked before the first": (of_trial(id=-1), "trial -1 was never asked"),
    "another configuration": (another_config, "was asked as .* told as .*0.4321"),
    "another seed": (of_trial(seed=77), "was asked as .* told as .*seed=77"),
    "a model outside": (of_trial(fidelity=Fidelity("xxl", 6)), "unknown model 'xxl'"),
    "steps outside": (of_trial(fidelity=Fidelity("l", 25)), "25 steps is outside 1 to max_steps=24"),
    "no steps": (of_trial(fidelity=Fidelity("l", 0)), "0 steps is outside 1 to max_steps=24"),
    "another fidelity": (of_trial(fidelity=Fidelity("l", 23)), "was asked as .* told as .*steps=23"),
    "a NaN score": (changed(score=math.nan), "score=nan must be finite"),
    "an infinite score": (changed(score=math.inf), "score=inf must be finite"),
    "minus infinity": (changed(score=-math.inf), "score=-inf must be finite"),
    "no score": (changed(score=None), "score=None; a completed trial has one"),
    "a NaN validation": (last_step(val_accuracy=math.nan), r"validation at step \d+=nan must be finite"),
    "a negative cost": (changed(cost=Cost(1.0, 10, -5.0)), "a cost of -5 flops"),
    "a NaN cost": (changed(cost=Cost(1.0, 10, math.nan)), "a cost of nan flops"),
    "an infinite cost": (changed(cost=Cost(1.0, 10, math.inf)), "a cost of inf flops"),
    "negative seconds": (changed(cost=Cost(-1.0, 10, 5.0)), "a cost of -1 seconds"),
    "no cost": (changed(cost=Cost(1.0, 10, 0.0)), "a cost of 0 flops"),
    "a NaN cost from scratch": (changed(cost_from_scratch=Cost(math.nan)), "a cost from scratch of nan seconds"),
    "a negative cost from scratch": (changed(cost_from_scratch=Cost(-2.0)), "a cost from scratch of -2 seconds"),
    "a NaN step cost": (last_step(cost=Cost(math.nan)), r"step \d+: a cost of nan seconds"),
    "more steps than asked": (changed(steps_done=25), r"steps \d+ to 25 lie outside"),
    "resumed beyond its end": (changed(resumed_from=24, steps_done=23), "steps 24 to 23 lie outside"),
    "a curve cut short": (lambda r: dataclasses.replace(r, curve=r.curve[:-1]), r"a curve of \d+ steps for \d+ done"),
    "a curve out of order": (lambda r: dataclasses.replace(r, curve=r.curve[::-1]), "a curve of steps .* from 1 on"),
    "completed too early": (
        lambda r: dataclasses.replace(r, steps_done=r.steps_done - 1, curve=r.curve[:-1]),
        r"completed after \d+ of \d+ steps",
    ),
}
"""How a result can be wrong -> what makes it so, and what the ValueError says."""


def after(name: str, told: int) -> tuple[Optimizer, World]:
    """A method that was told so many trials, enough for the surrogate to have taken over where there is one."""
    optimizer, world = make(name), World()
    list(world.drive(optimizer, trials=told))
    return optimizer, world


@check("refuses impossible results")
@pytest.mark.parametrize("told", [0, 4])
def test_a_result_that_cannot_be_is_refused_by_name_and_changes_nothing(name, told):
    (optimizer, world), (twin, of_twin) = after(name, told), after(name, told)
    trial, same = optimizer.ask(), twin.ask()
    if trial is None:  # a method of fewer trials: told=0 has them
        assert told and same is None
        return
    result = world.run(trial)
    for how, (spoil, says) in BAD_RESULTS.items():
        with pytest.raises(ValueError, match=says) as refused:
            optimizer.tell(spoil(result))
        assert "\n" not in str(refused.value), how
        assert optimizer.pending == {trial.id: trial}, how
    optimizer.tell(result)
    twin.tell(of_twin.run(same))
    assert future(optimizer, world) == future(twin, of_twin), "as if the bad results had never been told"


@check("refuses impossible results")
def test_a_trial_is_told_once(name):
    (optimizer, world), (twin, of_twin) = after(name, 0), after(name, 0)
    result = world.run(optimizer.ask())
    optimizer.tell(result)
    twin.tell(of_twin.run(twin.ask()))
    for again in (result, dataclasses.replace(result, score=0.99), dataclasses.replace(result, status=Status.FAILED)):
        with pytest.raises(ValueError, match=r"^trial 0 was told already; pending: none$"):
            optimizer.tell(again)
    assert future(optimizer, world) == future(twin, of_twin)


@check("refuses impossible results")
def test_a_failed_trial_may_be_free_and_without_a_score_but_its_numbers_are_checked_too(name):
    optimizer, world = make(name), World(fails=lambda trial: True)
    failed = world.run(optimizer.ask())
    free = dataclasses.replace(failed, curve=(), steps_done=0, cost=Cost(), cost_from_scratch=Cost())
    with pytest.raises(ValueError, match="a cost of nan flops"):
        optimizer.tell(dataclasses.replace(free, cost=Cost(0.0, 0, math.nan)))
    with pytest.raises(ValueError, match=r"score=0\.9; a failed trial has none"):
        optimizer.tell(dataclasses.replace(free, score=0.9))
    optimizer.tell(free)
    assert optimizer.pending == {}


@check("its word to the study")
def test_an_unknown_name_is_refused_with_the_valid_ones(name):
    with pytest.raises(
        UsageError, match=rf"unknown method '{name}x' \(did you mean '{name}'\?\).*{', '.join(METHODS)}"
    ):
        method(name + "x")
