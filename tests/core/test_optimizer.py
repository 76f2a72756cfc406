"""What `Optimizer` itself sees to, whatever the method: ids in turn, and fidelities within the problem."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.trial import Fidelity, Trial
from tests.method.synthetic import problem


class Proposing(Optimizer):
    """Proposes what it is given."""

    name, Settings = "proposing", dict

    def __init__(self, *trials: Trial):
        super().__init__(problem(), seed=0)
        self.trials = list(trials)

    def propose(self):
        return self.trials.pop(0)

    def observe(self, result):
        raise AssertionError("nothing is told here")

    def recommend(self):
        return self.problem.recipe


def trial(number: int, fidelity: Fidelity | None = None) -> Trial:
    return Trial(number, problem().recipe, fidelity or Fidelity("p", 6), seed=0)


def test_an_id_out_of_turn_is_refused_and_not_pending():
    optimizer = Proposing(trial(0), trial(0), trial(2), trial(1))
    assert optimizer.ask() == trial(0)
    for wrong in (0, 2):
        with pytest.raises(ValueError, match=f"method proposing proposed trial {wrong} where 1 is next"):
            optimizer.ask()
    assert optimizer.pending == {0: trial(0)}
    assert optimizer.ask() == trial(1)


@pytest.mark.parametrize(
    ("fidelity", "says"),
    [
        (Fidelity("7b", 6), "unknown model '7b'; valid: l, p"),
        (Fidelity("p", 0), "fidelity of 0 steps is outside 1 to max_steps=24"),
        (Fidelity("p", 25), "fidelity of 25 steps is outside 1 to max_steps=24"),
    ],
)
def test_a_proposed_fidelity_outside_the_problem_is_refused_and_not_pending(fidelity, says):
    optimizer = Proposing(trial(0, fidelity))
    with pytest.raises(UsageError) as refused:
        optimizer.ask()
    assert str(refused.value) == says
    assert optimizer.pending == {}
