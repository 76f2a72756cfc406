"""GRPOVI against GRPO from records: rewards, gains and steps on curves that can be worked out by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from experiments.gather import load
from experiments.grpovi import analysis
from experiments.grpovi.sweep import SWEEPS, VARIANTS
from experiments.launch import plan
from experiments.main.analysis import scores
from jfhpo.core.trial import Status
from tests.paper_figures.fake_results import FakeStudy

STEPS = 10


def run(out: Path, method: str, seed: int, slope: float, test: float, **told) -> None:
    """Reward slope · step at every step, and validation twice that at steps 5 and 10."""
    study = FakeStudy(out, method, seed, experiment="grpovi", problem="p-graded", target="p", max_steps=STEPS)
    rewards = [slope * (i + 1) for i in range(told.get("steps_done") or STEPS)]
    study.run("p", STEPS, {5: 10 * slope, 10: 20 * slope}, rewards=rewards, **told)
    study.finish(0.9, test)


@pytest.fixture
def records(tmp_path):
    """Slopes of three seeds: GRPO 0.02, one method twice as steep, one half as steep."""
    for seed, extra in enumerate((0.0, 0.001, 0.002)):
        run(tmp_path, "grpo", seed, 0.02 + extra, 0.70)
        run(tmp_path, "grpovi", seed, 2 * (0.02 + extra), 0.72 + 0.01 * seed)
        run(tmp_path, "grpovi_by_position", seed, 0.5 * (0.02 + extra), 0.60)
    return load(tmp_path, "grpovi")


def test_rewards_gains_and_accuracies_by_hand(records):
    frame = analysis.comparison(records).set_index("method")
    assert list(frame["n"]) == list(frame["expected"]) == [3, 3, 3]
    # The last five of slope · (1 … 10) have the mean 8 · slope, all of them 5.5 · slope; the mean slope is 0.021.
    assert frame.loc["grpo", "final_reward"] == pytest.approx(8 * 0.021)
    assert frame.loc["grpovi", "final_reward_gain"] == pytest.approx(8 * 0.021)
    assert frame.loc["grpovi", "mean_reward_gain"] == pytest.approx(5.5 * 0.021)
    assert frame.loc["grpovi_by_position", "mean_reward_gain"] == pytest.approx(-5.5 * 0.0105)
    assert frame.loc["grpovi", "accuracy_gain"] == pytest.approx(0.03)
    assert 0.019 < frame.loc["grpovi", "accuracy_low"] < 0.03 < frame.loc["grpovi", "accuracy_high"] < 0.041
    assert math.isnan(frame.loc["grpovi_by_position", "accuracy_low"]), "equal differences give no interval"
    assert math.isnan(frame.loc["grpo", "accuracy_gain"])


def test_steps_to_grpos_highest_reward_by_hand(records):
    """GRPO is at 8 · slope in step 10; at twice the slope the mean of five, (t − 2) · 2 · slope, is there at t = 6."""
    frame = analysis.steps_to_final(records).set_index("method")
    fast, slow = frame.loc["grpovi"], frame.loc["grpovi_by_position"]
    assert (fast["reached"], fast["pairs"], fast["reference_steps"], fast["steps"]) == (3, 3, 10, 6)
    assert fast["ratio"] == pytest.approx(10 / 6) and not fast["at_most"]
    assert (fast["low"], fast["high"]) == (pytest.approx(10 / 6), pytest.approx(10 / 6))
    assert slow["reached"] == 0 and math.isinf(slow["steps"])
    assert slow["at_most"] and slow["ratio"] == pytest.approx(1.0) and slow["low"] == 0.0


def test_curves_begin_where_there_are_enough_steps_and_bands_hold_the_seeds(records):
    curves = analysis.curves(records)
    assert curves[curves["step"] < analysis.SMOOTH]["reward"].isna().all()
    band = analysis.bands(records, "p-graded", "reward")
    grpo = band[band["method"] == "grpo"]
    assert grpo["spent"].tolist() == [5, 6, 7, 8, 9, 10]
    np.testing.assert_allclose(grpo["value"], [0.021 * (t - 2) for t in range(5, 11)])
    assert ((grpo["low"] >= 0.02 * (grpo["spent"] - 2) - 1e-12) & (grpo["low"] < grpo["value"])).all()
    assert analysis.bands(records, "p-graded", "val_accuracy")["spent"].unique().tolist() == [5, 10]


def test_differences_are_taken_within_a_seed(records):
    """At twice the slope every seed is ahead by its own 10 and 20 slopes."""
    found = analysis.difference_bands(records, "p-graded", "val_accuracy")
    assert set(found["method"]) == {"grpovi", "grpovi_by_position"}
    fast = found[found["method"] == "grpovi"]
    np.testing.assert_allclose(fast["value"], [10 * 0.021, 20 * 0.021])
    np.testing.assert_allclose(fast[["low", "high"]], [[0.2, 0.22], [0.4, 0.44]], atol=1e-3)


def test_only_runs_that_took_all_their_steps_count(records, tmp_path):
    run(tmp_path, "grpovi", 3, 0.02, 0.1, status=Status.CUT, reason="budget", steps_done=6)
    run(tmp_path, "grpo", 3, 0.02, 0.9)
    again = load(tmp_path, "grpovi")
    frame = analysis.comparison(again).set_index("method")
    assert (frame.loc["grpovi", "n"], frame.loc["grpovi", "expected"], frame.loc["grpovi", "pairs"]) == (3, 4, 3)
    assert analysis.steps_to_final(again).set_index("method").loc["grpovi", "pairs"] == 3
    assert len(scores(again, "p-graded")) == 4


def test_nothing_finished_is_nothing_said(tmp_path):
    FakeStudy(tmp_path, "grpo", 0, experiment="grpovi")
    records = load(tmp_path, "grpovi")
    assert analysis.comparison(records)["n"].tolist() == [0]
    assert analysis.steps_to_final(records).empty and analysis.bands(records, "last_digit", "reward").empty


@pytest.mark.parametrize(
    "interval, said",
    [
        ((0.1, 0.05, 0.2), "higher"), ((-0.1, -0.2, -0.05), "lower"), ((0.1, -0.1, 0.2), "no difference shown"),
        ((0.1, math.nan, math.nan), "no interval"), ((math.nan,) * 3, "not known"),
    ],
)  # fmt: skip
def test_what_an_interval_says(interval, said):
    assert analysis.conclusion(*interval) == said


@pytest.mark.parametrize("scale", list(SWEEPS))
def test_the_rows_differ_in_nothing_but_the_advantage(scale):
    jobs = plan([scale, "experiment=grpovi", "seed=0"]).jobs
    settings = {}
    for job in jobs:
        problem = job.config.problem
        assert problem.trainer_settings.reward == "graded" and problem.target == problem.proxy == "p"
        own = {k: v for k, v in problem.trainer_settings.items() if k not in ("advantage", "grpovi_ties")}
        settings.setdefault(problem.name, []).append((own, dict(problem.recipe), list(problem.rungs)))
    assert all(rows.count(rows[0]) == len(rows) == len(VARIANTS) for rows in settings.values())
    advantages = [(j.config.problem.trainer_settings.advantage, j.config.label) for j in jobs[:3]]
    assert advantages == [("grpo", "grpo"), ("grpovi", "grpovi"), ("grpovi", "grpovi_by_position")]
