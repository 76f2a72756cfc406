"""JF-HPO to the letter: the proxy alone, the paper's α over (φ, r), its rules, and the hand-over as it is."""

from __future__ import annotations

from itertools import cycle
from typing import Any

import numpy as np
import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.space import config_key
from jfhpo.core.trial import Fidelity
from jfhpo.method.acquisition import log_paper_value
from jfhpo.method.observations import Candidate
from jfhpo.method.paper import PaperJointFidelity, PaperSettings
from tests.method.synthetic import World, problem


@pytest.fixture(autouse=True)
def coarse_fits(monkeypatch):
    monkeypatch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", 10)
    monkeypatch.setattr("jfhpo.method.learning.REFIT_GROWTH", 1.5)


def paper(seed: int = 0, of: Any = None, **settings: Any) -> PaperJointFidelity:
    small = {"initial": 6, "raw_samples": 32, "restarts": 2}
    return PaperJointFidelity(of or problem(), seed=seed, settings=PaperSettings(**small | settings))


def asked(optimizer, trials: int, world: World | None = None) -> list:
    return [result.trial for result in (world or World()).drive(optimizer, trials=trials)]


def test_its_settings_are_the_papers():
    optimizer = paper()
    assert (optimizer.early_stopping, optimizer.checkpoint_reuse) == ("paper", True)


def test_it_never_looks_at_the_target():
    trials = asked(paper(), 16)
    assert {t.fidelity.model for t in trials} == {"p"}


def test_the_first_design_is_the_recipe_as_it_is_and_goes_through_the_rungs_in_turn():
    trials = asked(paper(), 6)
    assert trials[0].config == problem().recipe
    assert [t.fidelity.steps for t in trials] == [steps for _, steps in zip(range(6), cycle((6, 12, 24)), strict=False)]
    first = asked(paper(initial_steps="first_rung"), 6)
    assert {t.fidelity.steps for t in first} == {6}


def test_what_is_recommended_was_tried_and_keeps_its_learning_rate():
    optimizer = paper()
    trials = asked(optimizer, 12)
    assert config_key(optimizer.recommend()) in {config_key(t.config) for t in trials}


@pytest.mark.parametrize("reuse", [True, False])
def test_a_longer_trial_resumes_unless_checkpoints_are_not_reused(reuse, monkeypatch):
    """With nothing new to try, the search goes on with what it has."""
    nothing_new = lambda *args, near, **kwargs: (near[0], 24)  # noqa: E731
    monkeypatch.setattr("jfhpo.method.proposal.best_new_at_any_step", nothing_new)
    trials = asked(paper(checkpoint_reuse=reuse), 9)
    reached: dict[str, int] = {}
    for trial in trials:
        key = config_key(trial.config)
        assert trial.resume_from == (reached.get(key, 0) if reuse else 0)
        assert trial.fidelity.steps > reached.get(key, 0)
        reached[key] = trial.fidelity.steps
    assert len(reached) == 6 < len(trials)


def test_of_what_was_tried_it_chooses_the_greatest_alpha():
    """α written out: EI of the candidate's own posterior over the incumbent's mean at r_max, per remaining cost."""
    optimizer = paper()
    asked(optimizer, 9)
    surrogate = optimizer.learner.surrogate
    best = max(optimizer.learner.surrogate.predict(optimizer._full_x(optimizer.seen.scored()))[0])

    def alpha(candidate: Candidate) -> float:
        mean, sd = surrogate.posterior(torch.tensor(optimizer.learner.x([candidate])))
        cost = optimizer.costs.expect("p", candidate.config, candidate.steps - candidate.paid)
        return log_paper_value(mean, sd, float(best), torch.tensor([cost])).item()

    tried = [
        Candidate(config, "p", r, optimizer.seen.reached[config_key(config), "p"])
        for config in optimizer.seen.tried.values()
        for r in problem().rungs
        if r > optimizer.seen.reached[config_key(config), "p"]
    ]
    trial = optimizer.ask()
    chosen = optimizer.running[trial.id]
    assert (trial.fidelity, trial.resume_from) == (Fidelity("p", chosen.steps), chosen.paid)
    assert alpha(chosen) >= max(map(alpha, tried)) - 1e-9
    fresh = [Candidate(c, "p", r, 0) for c in problem().space.sample(np.random.default_rng(0), 30) for r in (6, 12, 24)]
    assert alpha(chosen) > np.mean([alpha(c) for c in fresh])


@pytest.mark.parametrize("incumbent", ["posterior", "observed"])
def test_the_incumbent_is_the_best_by_posterior_or_by_what_was_seen(incumbent):
    optimizer, world = paper(incumbent=incumbent), World(noise=0.0)
    asked(optimizer, 10, world)
    rows = [row for row in optimizer.seen.rows if row.steps == 24]
    seen = max(rows, key=lambda row: row.y).config
    configs = optimizer.seen.scored()
    mean, _ = optimizer.learner.surrogate.predict(optimizer._full_x(configs))
    expected = seen if incumbent == "observed" else configs[int(np.argmax(mean))]
    assert optimizer.recommend() == expected


def test_without_the_proxy_the_same_search_runs_on_the_target():
    assert {t.fidelity.model for t in asked(paper(proxy=False), 8)} == {"l"}


@pytest.mark.parametrize("setting", ["kernel", "incumbent", "initial_steps", "failures", "stops"])
def test_an_unknown_choice_is_refused_with_the_valid_ones(setting):
    with pytest.raises(UsageError, match=f"method.{setting} 'x'; valid: "):
        paper(**{setting: "x"})


def test_everything_failing_is_no_end():
    optimizer = paper()
    assert len(asked(optimizer, 9, World(fails=lambda trial: True))) == 9
    assert optimizer.summary() == {}
    problem().space.validate(optimizer.recommend())
