"""JF-HPO as a whole, on learning curves by formula: its promises, its switches, and that it finds good settings."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch

from baselines.random_search import RandomSearch
from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.space import config_key
from jfhpo.core.trial import Fidelity, Status, StepRecord, Trial, TrialResult
from jfhpo.method.joint_fidelity import JointFidelity, JointFidelitySettings
from tests.method.synthetic import LARGE, SMALL, World, accuracy, outcome, problem

SMALLER = SMALL.width / LARGE.width


@pytest.fixture(autouse=True)
def coarse_fits(monkeypatch):
    """Rough hyperparameters, fitted less often, are enough here and several times as fast."""
    monkeypatch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", 10)
    monkeypatch.setattr("jfhpo.method.learning.REFIT_GROWTH", 1.5)


def jfhpo(seed: int = 0, of: Any = None, **settings: Any) -> JointFidelity:
    small = {"initial": 4, "raw_samples": 32, "restarts": 2}
    return JointFidelity(of or problem(), seed=seed, settings=JointFidelitySettings(**small | settings))


def asked(optimizer: Optimizer, world: World, trials: int) -> list[Trial]:
    return [result.trial for result in world.drive(optimizer, trials=trials)]


# -- asking


def test_the_same_seed_asks_the_same_whatever_the_global_random_state():
    def run(global_seed: int, seed: int = 0) -> list[Trial]:
        random.seed(global_seed)
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        return asked(jfhpo(seed), World(), 9)

    assert run(1) == run(2)
    after = random.random(), np.random.random(), torch.rand(()).item()
    torch.manual_seed(2)
    expected = random.Random(2).random(), np.random.RandomState(2).random_sample(), torch.rand(()).item()
    assert after == expected, "global generators were moved"
    assert run(1) != run(1, seed=1)


def test_it_starts_with_the_recipe_on_the_proxy_at_the_first_rung():
    trials = asked(jfhpo(), World(), 4)
    assert trials[0].config == problem().recipe | {"lr": pytest.approx(problem().recipe["lr"] / SMALLER)}
    assert {t.fidelity for t in trials} == {Fidelity("p", 6)}
    assert len({config_key(t.config) for t in trials}) == 4
    assert [t.id for t in trials] == [0, 1, 2, 3]


def test_the_recipe_can_be_left_out():
    trials = asked(jfhpo(of=problem(recipe_first=False)), World(), 4)
    assert not any(t.config["kl_loss_coef"] == problem().recipe["kl_loss_coef"] for t in trials)


def test_several_trials_may_be_pending_and_none_of_them_is_asked_twice():
    optimizer, world = jfhpo(), World()
    first = [optimizer.ask() for _ in range(4)]
    assert optimizer.ask() is None, "nothing is known yet: wait"
    for trial in first:
        optimizer.tell(world.run(trial))
    pending = [optimizer.ask() for _ in range(4)]
    assert len({(config_key(t.config), t.fidelity.model) for t in pending}) == 4
    assert [t.id for t in first + pending] == list(range(8))


@pytest.mark.parametrize("order", [[3, 2, 1, 0], [1, 3, 0, 2]])
def test_results_may_come_in_any_order(order):
    optimizer, world = jfhpo(), World()
    for _ in range(2):
        trials = [optimizer.ask() for _ in range(4)]
        for i in order:
            optimizer.tell(world.run(trials[i]))
    assert sum(optimizer.summary()["observations"].values()) >= 8
    assert accuracy(optimizer.recommend(), "l", 24) > 0


def test_new_configurations_start_on_the_proxy():
    """The target is bought only for what the proxy has seen."""
    world = World()
    trials = asked(jfhpo(1), world, 24)
    seen: set[float] = set()
    for trial in trials:
        kl = trial.config["kl_loss_coef"]  # real-valued: names a configuration on both models
        assert trial.fidelity.model == "p" or kl in seen
        seen.add(kl)
    assert {t.fidelity.model for t in trials} == {"p", "l"}


@pytest.mark.parametrize("seed", range(3))
def test_every_promise_holds_in_a_world_where_trials_stop_fail_and_are_cut(seed):
    """No (configuration, model) is asked again after it failed or was stopped, nor beyond a rung or `max_steps`, and
    each trial resumes what is there."""
    chance = np.random.default_rng(seed)
    world = World(rules="robust", fails=lambda trial: chance.random() < 0.15)
    optimizer, of = jfhpo(seed), world.problem
    closed, reached, kinds = set(), Counter(), Counter()
    for _ in range(22):
        trial = optimizer.ask()
        key = (config_key(trial.config), trial.fidelity.model)
        assert key not in closed
        assert trial.fidelity.steps in of.rungs
        assert trial.resume_from == reached[key] < trial.fidelity.steps
        assert trial.validate_at == tuple(r for r in of.rungs if reached[key] < r < trial.fidelity.steps)
        cut = int(chance.integers(reached[key], trial.fidelity.steps)) if chance.random() < 0.15 else None
        result = world.run(trial, cut_at=cut)
        kinds[result.status] += 1
        if result.status in (Status.FAILED, Status.EARLY_STOPPED):
            closed.add(key)
        else:
            reached[key] = max(reached[key], result.steps_done)
        optimizer.tell(result)
    assert kinds[Status.FAILED] and kinds[Status.COMPLETED], kinds
    of.space.validate(optimizer.recommend())


# -- the three switches, and how learning rates are carried


def test_a_longer_trial_resumes_its_own_checkpoint():
    trials = asked(jfhpo(), World(), 20)
    reached: dict[tuple[str, str], int] = {}
    for trial in trials:
        key = (config_key(trial.config), trial.fidelity.model)
        assert trial.resume_from == reached.get(key, 0)
        reached[key] = trial.fidelity.steps
    assert any(t.resume_from > 0 for t in trials), "or nothing was seen"


def test_without_checkpoint_reuse_every_trial_starts_from_the_base():
    optimizer = jfhpo(checkpoint_reuse=False)
    trials = asked(optimizer, World(), 20)
    assert {t.resume_from for t in trials} == {0}
    assert any(t.fidelity.steps > 6 for t in trials), "longer trials are asked all the same"
    assert optimizer.checkpoint_reuse is False


def test_without_the_proxy_only_the_target_is_asked():
    trials = asked(jfhpo(proxy=False), World(), 9)
    assert {t.fidelity.model for t in trials} == {"l"}
    assert trials[0].config == problem().recipe, "its learning rate is meant for the target"


def test_a_proxy_that_is_the_target_is_one_model():
    trials = asked(jfhpo(of=problem(proxy="l")), World(problem(proxy="l")), 9)
    assert {t.fidelity.model for t in trials} == {"l"}


def test_learning_rates_are_carried_between_models_by_width():
    by_kl: dict[float, dict[str, float]] = {}
    for trial in asked(jfhpo(1), World(), 24):
        by_kl.setdefault(trial.config["kl_loss_coef"], {})[trial.fidelity.model] = trial.config["lr"]
    both = [lrs for lrs in by_kl.values() if len(lrs) == 2]
    assert both
    assert [lrs["p"] * SMALLER for lrs in both] == pytest.approx([lrs["l"] for lrs in both])


def test_learning_rates_are_carried_as_they_are_if_wanted():
    by_kl: dict[float, dict[str, float]] = {}
    for trial in asked(jfhpo(1, lr_transfer="none"), World(), 24):
        by_kl.setdefault(trial.config["kl_loss_coef"], {})[trial.fidelity.model] = trial.config["lr"]
    both = [lrs for lrs in by_kl.values() if len(lrs) == 2]
    assert both
    assert all(lrs["p"] == lrs["l"] for lrs in both)


def test_the_recommendation_carries_the_learning_rate_of_the_target():
    optimizer = jfhpo()
    trials = asked(optimizer, World(), 12)
    chosen = optimizer.recommend()
    on_proxy = {t.config["kl_loss_coef"]: t.config["lr"] for t in trials if t.fidelity.model == "p"}
    assert chosen["lr"] == pytest.approx(on_proxy[chosen["kl_loss_coef"]] * SMALLER)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"lr_transfer": "height"}, ["lr_transfer", "'height'", "none, width"]),
        ({"initial": 0}, ["method.initial=0", "at least 1"]),
        ({"raw_samples": 0}, ["method.raw_samples=0", "at least 1"]),
        ({"restarts": 0}, ["method.restarts=0", "at least 1"]),
        ({"kernel": "matérn"}, ["method.kernel", "did you mean 'matern'"]),
        ({"failures": "best"}, ["method.failures", "ignore, worst"]),
        ({"stops": "never"}, ["method.stops", "as_seen, final"]),
    ],
    ids=str,
)
def test_a_setting_that_makes_no_sense_is_refused_at_once(settings, words):
    with pytest.raises(UsageError) as caught:
        jfhpo(**settings)
    assert [word for word in words if word not in str(caught.value)] == []


# -- telling


def test_a_validation_told_twice_is_one_observation():
    """A resumed trial's curve brings the validations of the steps before it once more."""
    optimizer, world = jfhpo(), World()
    told = set()
    for result in world.drive(optimizer, trials=16):
        key = (result.trial.config["kl_loss_coef"], result.trial.fidelity.model)
        told |= {(*key, step) for step, _ in result.validations()}
        assert sum(optimizer.summary().get("observations", {"p": len(told)}).values()) == len(told)
    assert any(t.resume_from for t in world.trials), "or nothing was told twice"


def test_intermediate_validations_are_learned_from():
    optimizer, world = jfhpo(checkpoint_reuse=False), World()
    list(world.drive(optimizer, trials=16))
    longer = [t for t in world.trials if t.fidelity.steps > 6]
    assert longer, "or nothing was validated on the way"
    assert all(t.validate_at for t in longer)
    told = {(t.config["kl_loss_coef"], t.fidelity.model, step) for t in world.trials for step in _rungs(t)}
    assert sum(optimizer.summary()["observations"].values()) == len(told)


def _rungs(trial: Trial) -> list[int]:
    return [*trial.validate_at, trial.fidelity.steps]


def failing(trial_ids: set[int], **kwargs: Any) -> World:
    return World(fails=lambda trial: trial.id in trial_ids, **kwargs)


@pytest.mark.parametrize("failed", [{0}, {1}, {0, 3}])
def test_a_failure_is_never_recommended_when_something_else_is_known(failed):
    """Not even when all that is known is no better than chance."""
    optimizer, world = jfhpo(), failing(failed)
    world.observe = lambda trial, step: 0.13
    trials = asked(optimizer, world, 5)
    bad = {t.config["kl_loss_coef"] for t in trials if t.id in failed}
    assert optimizer.recommend()["kl_loss_coef"] not in bad


def test_a_failure_in_the_midst_of_good_configurations_is_not_recommended():
    optimizer, world = jfhpo(initial=6), failing({2}, noise=0.0)
    trials = [optimizer.ask() for _ in range(6)]
    for trial in trials:
        result = world.run(trial)
        if result.status is not Status.FAILED:  # all good, by a hair
            score = 0.9 + 0.001 * trial.id
            curve = (*result.curve[:-1], _validated(result, score))
            result = TrialResult(trial, result.status, "", 6, score, curve, result.cost, result.cost)
        optimizer.tell(result)
    assert optimizer.recommend()["kl_loss_coef"] != trials[2].config["kl_loss_coef"]


def _validated(result: TrialResult, score: float):
    last = result.curve[-1]
    return dataclasses.replace(last, val_accuracy=score)


def test_a_failure_counts_as_the_worst_score_seen():
    """Never good, and no cliff that would bend the whole surface."""
    optimizer, world = jfhpo(initial=6), failing({2})
    results = [world.run(trial) for trial in [optimizer.ask() for _ in range(6)]]
    for result in results:
        optimizer.tell(result)
    scores = [r.score for r in results if r.score is not None]
    assert sorted(optimizer.learner.surrogate.y) == pytest.approx(sorted([*scores, min(scores)]))


def test_when_everything_fails_it_still_recommends_something_to_train():
    optimizer, world = jfhpo(), World(fails=lambda trial: True)
    list(world.drive(optimizer, trials=8))
    chosen = optimizer.recommend()
    optimizer.problem.space.validate(chosen)
    assert optimizer.summary() == {}


@pytest.mark.parametrize("lost", [set(range(4)), {0, 1, 2}])
def test_the_search_goes_on_after_a_first_design_that_failed(lost):
    """Four bad draws say nothing about the next one; the study ends a search in which everything fails."""
    optimizer, world = jfhpo(), failing(lost)
    assert len(asked(optimizer, world, 8)) == 8


def test_a_single_initial_configuration_is_enough():
    assert len(asked(jfhpo(initial=1), World(), 6)) == 6


def test_a_cut_trial_without_a_score_is_no_judgement():
    optimizer, world = jfhpo(), World()
    trials = [optimizer.ask() for _ in range(4)]
    for trial in trials[:3]:
        optimizer.tell(world.run(trial))
    optimizer.tell(world.run(trials[3], cut_at=3))
    assert optimizer.summary()["observations"] == {"p": 3, "l": 0}
    assert optimizer.ask() is not None


@pytest.mark.parametrize(("stops", "known_at"), [("final", [4, 24]), ("as_seen", [4])])
def test_an_early_stop_is_a_judgement_on_the_whole_run(stops, known_at):
    """A curve that was stopped counts as what it had reached, at full steps too, unless only what was seen is told."""
    optimizer, world = jfhpo(stops=stops), World()
    for trial in [optimizer.ask() for _ in range(4)]:
        result = world.run(trial)
        if trial.id == 0:
            curve = (*result.curve[:3], _validated_at(result.curve[3], 0.2))
            stopped = {"status": Status.EARLY_STOPPED, "reason": "zero_reward at step 4", "steps_done": 4}
            result = dataclasses.replace(result, **stopped, score=0.2, curve=curve)
        optimizer.tell(result)
    assert [row.steps for row in optimizer.seen.rows if row.y == 0.2] == known_at
    bad = world.trials[0].config["kl_loss_coef"]
    again = [t for t in asked(optimizer, world, 8) if t.config["kl_loss_coef"] == bad and t.fidelity.model == "p"]
    assert again == [], "it is not continued on the model where it was stopped"


def _validated_at(record: StepRecord, score: float) -> StepRecord:
    return dataclasses.replace(record, val_accuracy=score)


# -- recommending


def test_before_anything_is_known_the_recipe_is_recommended():
    assert jfhpo().recommend() == problem().recipe


def test_before_there_is_a_surrogate_the_best_score_is_recommended():
    optimizer, world = jfhpo(), World()
    results = [world.run(optimizer.ask()) for _ in range(3)]
    for result in results:
        optimizer.tell(result)
    best = max(results, key=lambda r: r.score)
    assert optimizer.recommend()["kl_loss_coef"] == best.trial.config["kl_loss_coef"]


def test_only_configurations_that_were_tried_are_recommended():
    optimizer = jfhpo()
    trials = asked(optimizer, World(), 14)
    assert optimizer.recommend()["kl_loss_coef"] in {t.config["kl_loss_coef"] for t in trials}


@pytest.mark.parametrize("look", ["recommend", "summary"])
@pytest.mark.parametrize("workers", [1, 3])
def test_looking_changes_nothing_of_what_is_asked_next(workers, look):
    def run(looking: bool) -> list[Trial]:
        optimizer, world, out = jfhpo(), World(), []
        for _ in range(12 // workers):
            trials = [trial for _ in range(workers) if (trial := optimizer.ask()) is not None]
            out += trials
            for trial in trials:
                optimizer.tell(world.run(trial))
                if looking:
                    getattr(optimizer, look)()
        return out

    assert run(True) == run(False)


def test_changing_the_recommendation_changes_nothing_inside():
    optimizer = jfhpo()
    asked(optimizer, World(), 6)
    first = optimizer.recommend()
    kept = dict(first)
    first["lr"] = 1.0
    assert optimizer.recommend() == kept


def test_it_beats_random_search_at_equal_cost():
    """A check that it searches, not a benchmark: 8 seeds, and random search may finish the trial that it is in."""
    ours, theirs = [], []
    for seed in range(8):
        world, optimizer = World(rules="robust"), jfhpo(seed, initial=8)
        asked(optimizer, world, 24)
        ours.append(outcome(optimizer))
        other, search = World(), RandomSearch(problem(), seed=seed)
        list(other.drive(search, budget=world.spent.flops))
        theirs.append(outcome(search))
    assert np.mean(ours) > np.mean(theirs) + 0.04
    assert np.mean(ours) > 0.75  # of at most .90; the recipe reaches .55
