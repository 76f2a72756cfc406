"""What a method learns: where its trials go once it has seen some, on landscapes with a known optimum.

`experiments/analytic` has the rest of it over 50 landscapes: how far its recommendation stays below the optimum.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Config, TrialResult
from jfhpo.study.methods import method
from jfhpo.trainers.curves.formula import Landscape
from tests.baselines.conformance.parts import check, make
from tests.method.synthetic import World, problem

LANDSCAPES, TRIALS, BIAS = 4, 60, 0.25
DRAWS = 1000
MARGIN = 0.05
"""How much better the second half of the trials must be than chance, in accuracy. For 30 draws on each of four
landscapes, the mean's standard error is about 0.03."""


def final_accuracy(config: Config, model: str, landscape: Landscape) -> float:
    """Without noise, trained in full where it was tried."""
    return landscape.accuracy(config, model, problem().max_steps)


@functools.cache
def chance(landscape: Landscape, model: str) -> float:
    """Mean final accuracy of configurations drawn at random."""
    drawn = problem().space.sample(np.random.default_rng(0), DRAWS)
    return float(np.mean([final_accuracy(config, model, landscape) for config in drawn]))


def lead(made: Iterator[tuple[Optimizer, Landscape]]) -> float:
    """Mean over landscapes of how much better than chance the second half of the trials is, weighted by cost."""
    gains = []
    for optimizer, landscape in made:
        results = list(World(optimizer.problem, landscape=landscape).drive(optimizer, trials=TRIALS))
        assert len(results) == TRIALS
        late = [(r.trial.config, r.trial.fidelity.model, r.cost.flops) for r in results[TRIALS // 2 :]]
        better = [final_accuracy(config, model, landscape) - chance(landscape, model) for config, model, _ in late]
        gains.append(np.average(better, weights=[cost for *_, cost in late]))
    return float(np.mean(gains))


def on_landscapes(name: str) -> Iterator[tuple[Optimizer, Landscape]]:
    return ((make(name, seed=seed), Landscape.draw(seed, BIAS)) for seed in range(LANDSCAPES))


@check("learns, or says it does not")
def test_it_spends_on_better_configurations_than_chance_or_proposes_the_same_whatever_it_is_told(name):
    if method(name).learns:
        assert lead(on_landscapes(name)) > MARGIN
        return
    told_the_truth, told_the_opposite = make(name), make(name)
    for _ in range(6):
        trial = told_the_truth.ask()
        assert told_the_opposite.ask() == trial
        if trial is None:
            break
        result = World().run(trial)
        told_the_truth.tell(result)
        told_the_opposite.tell(upside_down(result))


def upside_down(result: TrialResult) -> TrialResult:
    curve = tuple(replace(r, val_accuracy=r.val_accuracy and 1 - r.val_accuracy) for r in result.curve)
    return replace(result, score=1 - result.score, curve=curve)


def test_chance_would_not_pass():
    assert abs(lead(on_landscapes("random_search"))) < MARGIN


@pytest.mark.parametrize("name", ["tpe", "bohb"])
def test_a_method_that_is_told_nothing_of_worth_would_not_pass(name):
    """Its adapter loses the scores, say: everything is worth the same."""
    deaf = ((_Deaf(optimizer), landscape) for optimizer, landscape in on_landscapes(name))
    assert lead(deaf) < MARGIN


class _Deaf:
    def __init__(self, optimizer: Optimizer):
        self.problem, self.ask, self._tell = optimizer.problem, optimizer.ask, optimizer.tell

    def tell(self, result: TrialResult) -> None:
        curve = tuple(replace(r, val_accuracy=r.val_accuracy and 0.5) for r in result.curve)
        self._tell(replace(result, score=0.5, curve=curve))
