"""The audit of the stopping rules on seven short runs, against numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.early_stopping_audit import analysis
from experiments.gather import load
from experiments.sweeps import studies_of, sweeps
from jfhpo.core.trial import Status
from jfhpo.dynamics.early_stopping import PRESETS, BelowRivals, RewardBelowStart
from tests.paper_figures.fake_results import RECIPE, FakeStudy

STEPS = 20
RUNS = {
    # learning rate: (rewards, final score); on p, in the order of asking
    1e-5: ([0.5] * STEPS, 0.80),
    2e-5: ([0.6] * STEPS, 0.90),
    3e-5: ([0.7] * STEPS, 0.70),
    # Below .9 × .5 for the fifth time in a row at step 8.
    4e-5: ([0.5] * 3 + [0.2] * 17, 0.10),
    5e-5: ([0.55] * STEPS, 0.60),
    # Slow, yet third in the end. At step 10 the averages of the five before are .5 .6 .7 .29 .55: the lower quartile
    # is .5. Where the fourth was stopped at step 8, only four are there and nothing is judged.
    6e-5: ([0.3] * STEPS, 0.75),
}


def config(lr: float) -> dict:
    return {**RECIPE, "lr": lr}


def recording(out: Path, extra: bool = True) -> None:
    """`RUNS` and a failed run of 4 steps on p, two runs on l, and what is no full run of the search."""
    study = FakeStudy(out, "sobol", 0, experiment="recording", max_steps=STEPS)
    for lr, (rewards, score) in RUNS.items():
        study.run("p", STEPS, {STEPS: score}, config=config(lr), rewards=rewards)
    study.run("p", STEPS, {}, config=config(7e-5), steps_done=4, status=Status.FAILED, reason="loss is nan at step 4")
    for lr, score in ((1e-5, 0.4), (2e-5, 0.5)):
        study.run("l", STEPS, {STEPS: score}, config=config(lr))
    if extra:
        study.run("p", 10, {10: 0.99}, config=config(8e-5))
        study.run("p", STEPS, {STEPS: 0.99}, config=config(8e-5), resumed_from=10)
        study.run("p", STEPS, {}, config=config(9e-5), steps_done=12, status=Status.CUT)
        study.run("l", STEPS, {STEPS: 0.99}, config=config(3e-5), phase="final")
    study.finish(0.9, 0.8)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("results")
    recording(out)
    return load(out, "recording")


@pytest.fixture(scope="module")
def audited(records):
    return analysis.audit(records).set_index(["name", "model"])


def test_it_reads_the_recordings_of_another_experiment():
    assert studies_of("early_stopping_audit") == "recording"
    assert sweeps("early_stopping_audit") == sweeps("recording")


def test_every_preset_and_every_single_rule_is_replayed(audited):
    names = list(dict.fromkeys(audited.index.get_level_values("name")))
    single = ["kl_growth", "reward_drop", "zero_reward", "reward_below_start", "kl_runaway", "below_rivals"]
    single.append("remaining_gain")
    assert names == ["paper", "robust", "scaling_law", *single]
    assert list(dict.fromkeys(audited.index.get_level_values("model"))) == ["p", "l", "all"]
    assert {n for n in names if audited.loc[(n, "p"), "preset"]} == {"paper", "robust", "scaling_law"}


def test_only_full_runs_of_the_search_count(records):
    runs = analysis.full_runs(records)
    assert [(r.model, len(r.result.curve)) for r in runs] == [("p", 20)] * 6 + [("p", 4)] + [("l", 20)] * 2
    assert [r.result.score for r in runs] == [0.8, 0.9, 0.7, 0.1, 0.6, 0.75, None, 0.4, 0.5]
    assert [r.result.trial.config["lr"] for r in runs][:7] == [*RUNS, 7e-5]


def test_the_curves_are_those_that_the_study_judged(records):
    fourth = analysis.full_runs(records)[3].result
    assert [r.step for r in fourth.curve] == list(range(1, STEPS + 1))
    assert [r.reward_mean for r in fourth.curve] == RUNS[4e-5][0]
    assert [r.val_accuracy for r in fourth.curve] == [None] * 19 + [0.10]
    assert {r.kl for r in fourth.curve} == {0.01}


def test_the_top_three_are_those_of_one_study_and_model(records):
    runs = analysis.full_runs(records)
    assert [r.result.score for r in runs if r.top] == [0.8, 0.9, 0.75, 0.4, 0.5]


def test_a_tie_at_the_third_place_counts_as_top(tmp_path):
    study = FakeStudy(tmp_path, "sobol", 0, experiment="recording", max_steps=2)
    for i, score in enumerate((0.7, 0.9, 0.7, 0.8, 0.6)):
        study.run("p", 2, {2: score}, config=config(1e-5 * (i + 1)))
    runs = analysis.full_runs(load(tmp_path, "recording"))
    assert [r.top for r in runs] == [True, True, True, True, False]


def test_the_rule_against_rivals_alone_stops_a_slow_configuration_that_would_have_come_third(audited):
    row = audited.loc["below_rivals", "p"]
    assert (row["runs"], row["stopped"], row["top"], row["kills"]) == (7, 1, 3, 1)
    assert row["saved"] == pytest.approx(10 / 124)  # six runs of 20 steps and one of 4
    assert row["stopped_score"] == pytest.approx(0.75)
    assert row["kept_score"] == pytest.approx((0.8 + 0.9 + 0.7 + 0.1 + 0.6) / 5)


def test_a_rival_ends_where_the_preset_stopped_it(audited):
    """With the fourth run stopped at step 8 the sixth has four rivals at step 10, too few, and is kept."""
    row = audited.loc["robust", "p"]
    assert (row["stopped"], row["kills"]) == (1, 0)
    assert row["saved"] == pytest.approx(12 / 124)
    assert row["stopped_score"] == pytest.approx(0.10)


def test_a_rule_that_never_fires_saves_nothing_and_kills_nothing(audited):
    row = audited.loc["kl_growth", "p"]
    assert (row["stopped"], row["saved"], row["kills"]) == (0, 0, 0)
    assert math.isnan(row["stopped_score"])
    assert row["kept_score"] == pytest.approx((0.8 + 0.9 + 0.7 + 0.1 + 0.6 + 0.75) / 6)


def test_the_last_row_is_over_all_models(audited):
    row = audited.loc["below_rivals", "all"]
    assert (row["runs"], row["top"], row["kills"]) == (9, 5, 1)
    assert row["saved"] == pytest.approx(10 / 164)


def test_nothing_is_judged_at_the_last_step(records):
    fourth = analysis.full_runs(records)[3].result.curve
    assert analysis.first_stop((RewardBelowStart(),), fourth[:9]).step == 8
    assert analysis.first_stop((RewardBelowStart(),), fourth[:8]) is None


def test_runs_of_other_studies_and_models_are_no_rivals(tmp_path):
    """Two studies of three good runs: neither gives its last and bad run five rivals, nor does the other model."""
    for seed in range(2):
        study = FakeStudy(tmp_path, "sobol", seed, experiment="recording", max_steps=STEPS)
        for model in ("p", "l"):
            for i in range(4):
                study.run(model, STEPS, {STEPS: 0.9}, config=config(1e-5 * (i + 1)), rewards=[0.9] * STEPS)
        study.run("p", STEPS, {STEPS: 0.1}, config=config(1e-2), rewards=[0.1] * STEPS)
    runs = analysis.full_runs(load(tmp_path, "recording"))
    assert [r.stop for r in analysis.replay((BelowRivals(),), runs)] == [None] * 18
    stopped = [r.result.score for r in analysis.replay((BelowRivals(least=4),), runs) if r.stop]
    assert stopped == [0.1, 0.1]


@pytest.mark.parametrize(
    ("saved", "kills", "met"),
    [([0.2, 0.5], [0, 0], True), ([0.19, 0.5], [0, 0], False), ([0.4, 0.5], [0, 1], False), ([], [], False)],
)
def test_the_target_holds_on_every_model_or_not_at_all(audited, saved, kills, met):
    rows = audited.reset_index().head(len(saved)).assign(saved=saved, kills=kills)
    assert analysis.meets_target(rows) is met


def test_a_preset_without_rules_is_not_replayed():
    assert "none" in PRESETS and "none" not in analysis.suspects()
