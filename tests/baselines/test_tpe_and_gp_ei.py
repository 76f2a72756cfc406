"""TPE and GP-EI on full runs of the target: what is trained, what failures and pending runs do, and that they learn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from baselines.full_runs import FullRuns
from baselines.gp_ei import GPEI
from baselines.random_search import RandomSearch
from baselines.tpe import TPE
from jfhpo.core.errors import UsageError
from jfhpo.core.optimizer import Optimizer
from jfhpo.core.problem import Problem
from jfhpo.core.space import SearchSpace, config_key
from jfhpo.core.trial import Config, Cost, Status, Trial, TrialResult
from tests.method.synthetic import World, observed, problem

both = pytest.mark.parametrize("method", [TPE, GPEI], ids=lambda cls: cls.name)


def make(method: type[Optimizer], of: Problem | None = None, seed: int = 0, **settings: Any) -> Optimizer:
    return method(of or problem(), seed=seed, settings=method.Settings(**settings))


def scored(world: World, trial: Trial, score: float | None, status: Status = Status.COMPLETED) -> TrialResult:
    """The trial's result with this score and status."""
    return dataclasses.replace(world.run(trial), score=score, status=status)


def regret(method: type[Optimizer], seed: int, trials: int, **settings: Any) -> float:
    """How far the best of so many configurations lies below the optimum of `bowl`, which is told as the score."""
    world, optimizer, found = World(), make(method, problem(recipe_first=False), seed, **settings), []
    for _ in range(trials):
        trial = optimizer.ask()
        found.append(bowl(trial.config))
        optimizer.tell(scored(world, trial, found[-1]))
    return 1 - max(found)


def bowl(config: Config) -> float:
    """Greatest, 1, at lr = kl_loss_coef = 1e-2, 16 rollouts and a cosine."""
    numbers = (np.log10(config["lr"]) + 2) ** 2 + (np.log10(config["kl_loss_coef"]) + 2) ** 2
    return 1 - 0.2 * numbers - 0.1 * (config["rollout_n"] != 16) - 0.2 * (config["lr_scheduler"] != "cosine")


# -- what is trained


@both
def test_every_configuration_is_trained_in_full_on_the_target_and_from_scratch(method):
    world = World()
    list(world.drive(make(method), trials=6))
    assert {t.fidelity for t in world.trials} == {problem().full}
    assert {(t.resume_from, t.validate_at) for t in world.trials} == {(0, ())}
    assert len({config_key(t.config) for t in world.trials}) == 6
    assert (method.early_stopping, method.checkpoint_reuse) == ("none", False)


@both
def test_the_recipe_is_the_first_point_only_where_the_problem_says_so(method):
    assert make(method).ask().config == problem().recipe
    assert make(method, problem(recipe_first=False)).ask().config != problem().recipe


@both
def test_seeds_differ_in_the_first_draws_and_in_what_the_model_proposes(method):
    runs = []
    for seed in (0, 1):
        optimizer, world = make(method, seed=seed), World()
        runs.append([result.trial.config for result in world.drive(optimizer, trials=5)])
    assert runs[0][0] == runs[1][0] == problem().recipe
    assert all(a != b for a, b in zip(runs[0][1:], runs[1][1:], strict=True))


@both
def test_scores_steer_only_once_there_are_enough_results(method):
    """Told opposite scores, the first proposals are equal; after `initial` results they are not."""
    asked = []
    for sign in (1, -1):
        optimizer, world = make(method, initial=4), World()
        for i in range(7):
            optimizer.tell(scored(world, optimizer.ask(), 0.5 + sign * 0.01 * i))
        asked.append([trial.config for trial in world.trials])
    assert asked[0][:4] == asked[1][:4]
    assert asked[0][4:] != asked[1][4:]


def test_the_initial_design_of_gp_ei_is_the_recipe_and_a_sobol_sequence():
    optimizer = make(GPEI, initial=4)
    assert [optimizer.ask().config for _ in range(4)] == problem().initial_design(np.random.default_rng(0), 4)


# -- that they learn


@pytest.mark.parametrize(
    ("method", "settings", "trials", "seeds"),
    [(TPE, {}, 25, 10), (TPE, {"multivariate": True}, 25, 10), (GPEI, {}, 11, 5)],
    ids=["tpe", "tpe with a joint kernel", "gp_ei"],
)
def test_it_comes_much_nearer_to_a_known_optimum_than_random_search(method, settings, trials, seeds):
    ours = [regret(method, seed, trials, **settings) for seed in range(seeds)]
    drawn = [regret(RandomSearch, seed, trials) for seed in range(seeds)]
    assert np.median(ours) < 0.5 * np.median(drawn)
    assert sum(a < b for a, b in zip(ours, drawn, strict=True)) >= 0.7 * seeds


@both
def test_it_learns_in_a_space_of_lists_only(method):
    """4 × 4 × 3 configurations, the best one known; 24 trials of 48, none twice."""
    space = SearchSpace(
        {
            "n": {"type": "ordinal", "values": [2, 4, 8, 16]},
            "batch": {"type": "ordinal", "values": [8, 16, 32, 64]},
            "loss": {"type": "categorical", "values": ["token", "sequence", "dr"]},
        }
    )
    recipe = {"n": 2, "batch": 8, "loss": "token"}
    optimizer, world, told = make(method, problem(space=space, recipe=recipe)), World(), {}
    for _ in range(24):
        trial = optimizer.ask()
        value = 0.2 * np.log2(trial.config["n"]) - 0.1 * np.log2(trial.config["batch"] / 64) ** 2
        told[config_key(trial.config)] = value + 0.3 * (trial.config["loss"] == "dr")
        full = world.problem.recipe | {"lr": 1e-4}
        result = scored(world, dataclasses.replace(trial, config=full), told[config_key(trial.config)])
        optimizer.tell(dataclasses.replace(result, trial=trial))
    assert len(told) == 24
    assert optimizer.recommend() == {"n": 16, "batch": 64, "loss": "dr"}


# -- failures, early stops, cuts


@both
def test_the_best_completed_run_is_recommended(method):
    world, optimizer = World(), make(method)
    list(world.drive(optimizer, trials=6))
    best = max(world.trials, key=lambda t: observed(t.config, "l", 24, world.noise))
    assert optimizer.recommend() == best.config


@both
def test_before_a_run_completed_the_recipe_is_recommended(method):
    optimizer, world = make(method, problem(recipe_first=False)), World()
    for score, status in ((None, Status.FAILED), (0.9, Status.CUT), (0.9, Status.EARLY_STOPPED)):
        optimizer.tell(scored(world, optimizer.ask(), score, status))
        assert optimizer.recommend() == problem().recipe


@both
def test_neither_failed_nor_stopped_nor_cut_runs_are_recommended(method):
    optimizer, world = make(method), World()
    ends = [(0.9, Status.CUT), (None, Status.FAILED), (0.95, Status.EARLY_STOPPED), (0.3, Status.COMPLETED)]
    for score, status in [*ends, (None, Status.CUT), (0.2, Status.COMPLETED)]:
        optimizer.tell(scored(world, optimizer.ask(), score, status))
    assert optimizer.recommend() == world.trials[3].config


@pytest.mark.parametrize("method,trials", [(TPE, 15), (GPEI, 9)], ids=["tpe", "gp_ei"])
def test_told_as_the_worst_score_failures_drive_the_search_out_of_where_all_fail(method, trials):
    """Every run with a learning rate above 1e-3 fails, which is half of the range."""
    failed = {}
    for failures in ("worst", "ignore"):
        failed[failures] = 0
        for seed in range(4):
            world = World(fails=lambda trial: trial.config["lr"] > 1e-3)
            results = list(world.drive(make(method, seed=seed, failures=failures), trials=trials))
            failed[failures] += sum(r.status is Status.FAILED for r in results)
    assert failed["worst"] < 0.7 * failed["ignore"]


@both
@pytest.mark.parametrize("failures", ["worst", "ignore"])
def test_failures_alone_are_no_reason_to_stay_near_one(method, failures):
    """With nothing but failures the next configurations are spread as random ones are, and none is repeated."""
    world = World(fails=lambda trial: True)
    list(world.drive(make(method, failures=failures), trials=16))
    assert len({config_key(t.config) for t in world.trials}) == 16
    lr = np.log10([t.config["lr"] for t in world.trials[1:]])
    assert np.std(lr) > 0.7, "uniform over 4 decades: 1.15"


# -- pending runs, and order


@both
def test_what_is_pending_is_not_proposed_again_where_few_configurations_are_left(method):
    space = SearchSpace({"lr_scheduler": {"type": "categorical", "values": list("abcdefgh")}})
    of = problem(space=space, recipe={"lr_scheduler": "a"})
    optimizer = make(method, of)
    trials = [optimizer.ask() for _ in range(6)]
    assert len({config_key(t.config) for t in trials}) == 6
    for trial in trials[:3]:
        optimizer.tell(TrialResult(trial, Status.FAILED, "", 0, None, (), Cost(), Cost()))
    assert config_key(optimizer.ask().config) not in {config_key(t.config) for t in trials}


@both
def test_proposals_that_are_pending_together_all_differ(method):
    optimizer, world = make(method), World()
    list(world.drive(optimizer, trials=6))
    configs = [trial.config for trial in world.trials] + [optimizer.ask().config for _ in range(4)]
    assert len({config_key(config) for config in configs}) == 10


@pytest.mark.parametrize(
    ("method", "settings", "differs"),
    [(TPE, {}, True), (TPE, {"constant_liar": False}, False), (GPEI, {}, True)],
    ids=["tpe", "tpe without a liar", "gp_ei"],
)
def test_what_is_pending_changes_what_is_proposed_next(method, settings, differs):
    """Against a twin whose pending trials were cut, which teaches nothing but that they no longer run."""
    proposals = []
    for cut in (False, True):
        optimizer, world = make(method, **settings), World()
        list(world.drive(optimizer, trials=6))
        for trial in [optimizer.ask() for _ in range(4)]:
            if cut:
                optimizer.tell(scored(world, trial, None, Status.CUT))
        proposals.append(optimizer.ask().config)
    assert (proposals[0] != proposals[1]) == differs


@both
def test_the_order_in_which_results_are_told_does_not_matter(method):
    proposals = []
    for order in ([0, 1, 2, 3, 4], [4, 2, 0, 3, 1]):
        optimizer, world = make(method), World()
        trials = [optimizer.ask() for _ in range(5)]
        for i in order:
            optimizer.tell(world.run(trials[i]))
        proposals.append([optimizer.recommend(), optimizer.ask().config])
    assert proposals[0] == proposals[1]


def test_a_configuration_counts_once_and_in_the_order_of_asking():
    optimizer, world, runs = make(TPE), World(), FullRuns()
    trials = [optimizer.ask() for _ in range(4)]
    for i, score, status in [
        (2, 0.4, Status.COMPLETED),
        (3, 0.7, Status.CUT),
        (1, None, Status.FAILED),
        (0, 0.4, Status.COMPLETED),
    ]:
        runs.add(scored(world, trials[i], score, status))
    assert runs.told() == [(trials[0].config, 0.4), (trials[1].config, None), (trials[2].config, 0.4)]
    assert runs.best() == trials[0].config, "the first of equals"


# -- what it leaves alone, and what it refuses


def test_gp_ei_leaves_torch_as_it_was():
    torch.manual_seed(5)
    before = (torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.get_num_threads())
    list(World().drive(make(GPEI), trials=5))
    assert (torch.get_rng_state().tolist(), torch.get_default_dtype(), torch.get_num_threads()) == before


@pytest.mark.parametrize(
    ("method", "settings", "says"),
    [
        (TPE, {"initial": 0}, "method.initial=0 must be at least 1"),
        (TPE, {"candidates": 0}, "method.candidates=0 must be at least 1"),
        (TPE, {"failures": "worse"}, "unknown method.failures 'worse'.*did you mean 'worst'.*ignore, worst"),
        (GPEI, {"initial": 0}, "method.initial=0 must be at least 1"),
        (GPEI, {"failures": "no"}, "unknown method.failures 'no'; valid: ignore, worst"),
    ],
)
def test_a_bad_setting_is_refused_by_name(method, settings, says):
    with pytest.raises(UsageError, match=says):
        make(method, **settings)
