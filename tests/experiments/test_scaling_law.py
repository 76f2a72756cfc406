"""The experiment on curves whose law is known: what is foretold, saved and lost is what it must be."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.fidelity_kernel.splits import PROXY, TARGET, curves, split
from experiments.gather import KEYS, load
from experiments.scaling_law import __main__ as tool
from experiments.scaling_law import analysis, gp_mean, sizes, stopping
from experiments.scaling_law.curves import RewardCurve, folder_curves, recorded_curves
from experiments.sweeps import studies_of, sweeps
from jfhpo.core.errors import UsageError
from jfhpo.dynamics.early_stopping import RemainingGain
from tests.paper_figures.fake_curves import SIZES, STEPS, recorded_by_law


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("results")
    recorded_by_law(out)
    return load(out, "recording")


@pytest.fixture(scope="module")
def recorded(records) -> list[RewardCurve]:
    return recorded_curves(records)


def straight(rewards, accuracy=None, top: bool = False, pool: tuple = ("t", ("m", 0), "p")) -> RewardCurve:
    y = np.asarray(rewards, dtype=float)
    known = np.concatenate([y[:1], y]) if accuracy is None else np.asarray(accuracy, dtype=float)
    return RewardCurve("t", "p", f"c{len(y)}{y.sum():.3f}", y, known, pool, top)


def test_it_reads_the_recordings_of_another_experiment():
    assert studies_of("scaling_law") == "recording" and sweeps("scaling_law") == sweeps("recording")


def test_a_curve_is_a_completed_full_run_with_its_accuracy_between_validations(recorded):
    assert len(recorded) == 12 * (2 * 2 + 1), "12 configurations, twice on xs and on p and once on l"
    first = recorded[0]
    assert first.horizon == STEPS and len(first.accuracy) == STEPS + 1
    assert first.accuracy[0] == first.rewards[0]
    assert first.accuracy[9] == pytest.approx((first.accuracy[6] + first.accuracy[12]) / 2), "between two validations"
    assert len({curve.configuration for curve in recorded}) == 12, "runs that differ in model and lr alone are together"


# -- fits and forecasts


def test_the_law_of_the_curves_fits_best_and_foretells_their_end(recorded):
    fits = analysis.fit_table(analysis.whole_fits(recorded)).set_index("law")
    assert fits.loc["offset_saturation", "best"] > 0.9 and fits.loc["offset_saturation", "r2"] > 0.99
    told = analysis.forecast_table(analysis.forecasts(recorded)).set_index(["law", "seen"])
    assert told.loc[("offset_saturation", 0.4), "median"] < 0.02
    assert told.loc[("last 5 steps", 0.4), "median"] > 0.05
    assert told.loc[("last 5 steps", 0.4), "bias"] < 0 < told.loc[("last 5 steps", 0.4), "low"]


def test_a_naive_forecast_is_the_mean_of_the_last_steps_seen():
    told = analysis.forecasts([straight(np.arange(40) / 40)], seen=(0.5,)).set_index("law")["error"]
    truth = np.mean([35, 36, 37, 38, 39]) / 40
    assert told["last 5 steps"] == pytest.approx(17 / 40 - truth)
    assert told["last 10 steps"] == pytest.approx(14.5 / 40 - truth)


def test_nothing_is_foretold_of_too_little_nor_of_what_was_seen():
    assert analysis.forecasts([straight([0.5] * 40)], seen=(0.1, 0.9)).empty
    assert analysis.whole_fits([straight([0.5] * 7)]).empty


def test_phases_beyond_the_run_are_said_to_be_there():
    slow = [straight(0.1 + 0.6 * (1 - np.exp(-np.arange(40) / 100)))] * 3
    row = analysis.fit_table(analysis.whole_fits(slow)).set_index("law").loc["offset_saturation"]
    assert math.isinf(row["plateau_from"]) and 0 < row["slow_until"] < 1


def test_runs_of_one_configuration_are_resampled_together():
    values, alone = np.array([0.0, 0.0, 1.0, 1.0]), analysis.median_interval
    assert alone(values, ["a", "a", "a", "a"])[0] != alone(values, ["a", "a", "a", "a"])[0], "one cluster: NaN"
    assert alone(values, ["a", "a", "b", "b"]) == (0.0, 1.0)


# -- stopping


def test_stops_are_those_of_the_rule_itself(recorded):
    from experiments.early_stopping_audit.analysis import first_stop
    from jfhpo.core.trial import Cost, StepRecord

    rule = RemainingGain(threshold=0.2)
    ends = stopping.stops(stopping.watch(recorded[:20], rule), 0.2)
    assert len(set(ends)) > 3
    for curve, end in zip(recorded[:20], ends, strict=True):
        steps = [StepRecord(i + 1, r, 0, 0, 0, 0, 0, 0, 0, Cost()) for i, r in enumerate(curve.rewards)]
        stop = first_stop((RemainingGain(curve.horizon, threshold=0.2),), steps)
        assert end == (curve.horizon if stop is None else stop.step)


def test_what_is_saved_and_lost_by_hand():
    rising, flat = np.arange(11) / 10, np.full(11, 0.3)
    runs = [straight(rising[1:], rising, top=True), straight(flat[1:], flat)]
    row = stopping.outcome(runs, np.array([6, 3]))
    assert row["saved"] == pytest.approx((4 + 7) / 20)
    assert row["lost"] == pytest.approx(0.4 / 2) and row["lost_top"] == pytest.approx(0.4)
    assert (row["stopped_top"], row["top"], row["regret"]) == (1, 1, 0.0)
    assert stopping.outcome(runs, np.array([2, 10]))["regret"] == pytest.approx(0.7), "the flat one is chosen: 1 - 0.3"
    kept = stopping.outcome(runs, np.array([10, 10]))
    assert (kept["saved"], kept["lost"], kept["regret"]) == (0.0, 0.0, 0.0)


def test_a_setting_is_chosen_on_the_other_studies():
    """On one study stopping at the half costs nothing, on the other everything: each has the other's choice."""
    flat, late = np.full(41, 0.5), np.concatenate([np.full(31, 0.2), np.full(10, 0.9)])
    runs = [straight(v[1:], v, pool=("t", ("m", seed), "p")) for seed, v in enumerate((flat, late))]
    ends = {"rule": {0.5: np.array([20, 20]), 1.0: np.array([40, 40])}}
    (row,) = stopping.unseen(runs, ends).to_dict("records")
    assert row["settings"] == "1, 0.5"
    assert row["saved"] == pytest.approx(20 / 80) and row["lost"] == pytest.approx(0.7 / 2)
    assert stopping.unseen(runs[:1], ends).empty


def test_the_frontier_has_every_setting_but_those_that_stop_nothing(recorded):
    few = recorded[:6]
    frontier = stopping.frontier(few, stopping.ends_of(few))
    counts = frontier.groupby("rule").size()
    assert counts.loc[list(stopping.RULES)].eq(len(stopping.THRESHOLDS)).all()
    assert counts[stopping.YARDSTICK] == len(stopping.FIXED)
    for _, rows in frontier[frontier["rule"] != stopping.YARDSTICK].groupby("rule"):
        assert rows.sort_values("setting")["saved"].is_monotonic_increasing


# -- other sizes, and the surrogate


def test_sizes_are_foretold_from_the_runs_mapped_by_width(records):
    names, groups = sizes.groups_of(records, "last_digit")
    assert names == ["xs", "p", "l"] and len(groups) == 12
    log_size = {name: math.log10(parameters) for name, parameters in SIZES.items()}
    table = sizes.size_table(sizes.held_out_size(names, groups, log_size)).set_index(["scope", "forecast"])
    # The curves' τ is a power of the size and their plateau the same: what version 2 from R₀ says, and nothing else.
    best = table.loc[(sizes.EACH, "version 2 from R₀"), "median"]
    assert best < 0.03 < table.loc[(sizes.EACH, sizes.LARGEST), "median"]
    assert len(table) == 3 + 2 * len(sizes.JOINT)


def test_one_smaller_size_or_a_short_run_foretells_no_other():
    whole, log_size = np.linspace(0.1, 0.9, 30), {"xs": 4.0, "p": 5.0, "l": 6.0}
    assert sizes.held_out_size(["p", "l"], [{"p": whole, "l": whole}], log_size).empty
    short = dict.fromkeys(log_size, whole[:10])
    assert sizes.held_out_size(["xs", "p", "l"], [short], log_size).empty


def test_unfinished_runs_foretell_their_end(records):
    known = curves(records, "last_digit")
    steps = records.steps.sort_values("step").groupby([*KEYS, "trial"])["reward_mean"]
    rewards = {key: values.to_numpy(float) for key, values in steps}
    x, y = gp_mean.own_forecasts(known, rewards, seed=0)
    reached = {}
    for configuration, model, rung in split(known, 0).known:
        reached[configuration, model] = max(reached.get((configuration, model), 0), rung)
    half = [key for key, rung in reached.items() if rung == 1]  # a quarter of 24 steps is too short, the end is known
    assert len(y) == len(half) > 0
    assert x[:, gp_mean.STEPS] == pytest.approx(1.0)
    truths = [rewards[known.runs[c][m]][-1] for c, m in half]
    assert np.abs(y - truths).max() < 0.06


def test_a_law_as_the_mean_takes_out_what_progress_and_size_explain():
    rng = np.random.default_rng(0)
    s, m = rng.uniform(0.3, 1.0, 40), rng.integers(0, 2, 40)
    x = np.column_stack([rng.uniform(size=(40, 2)), s, m])
    u = np.exp((s - 1) * math.log(50))
    y = 0.2 + 0.1 * m + 0.5 / (1 + np.exp(-8 * (u - 0.3))) + rng.normal(0, 0.01, 40)
    fitted = gp_mean.LawMean(x, y, "matern", 50)
    assert fitted.progress(x) == pytest.approx(u)
    assert np.abs(fitted.mean(x) - y).max() < 0.05
    mean, sd = fitted.predict(x[:5])
    assert np.abs(mean - y[:5]).max() < 0.05 and (sd > 0).all()
    assert fitted.log_likelihood(x[:5], y[:5]).min() > 0


def test_the_surrogates_are_compared_on_the_same_runs(records, monkeypatch):
    monkeypatch.setattr(gp_mean, "SPLITS", 2)
    assert gp_mean.usable(records, "last_digit")
    table = gp_mean.comparison(gp_mean.predictions(records, "last_digit"))
    assert list(table["variant"]) == list(gp_mean.VARIANTS) * 2
    assert table.groupby("case")["runs"].nunique().eq(1).all()
    assert table.loc[table["variant"] == gp_mean.PLAIN, "difference"].isna().all()
    assert (PROXY, TARGET) == (0, 1)


# -- curves of one's own


def test_curves_of_a_folder_are_fitted_and_printed(tmp_path, capsys):
    for i in range(3):
        y = 0.8 - 0.6 * np.exp(-np.arange(40) / (6 + 3 * i))
        pd.DataFrame({"step": np.arange(1, 41), "score": y}).to_csv(tmp_path / f"run{i}.csv", index=False)
    pd.DataFrame({"score": [0.1] * 4}).to_csv(tmp_path / "short.csv", index=False)
    assert [curve.horizon for curve in folder_curves(tmp_path, "score")] == [40, 40, 40, 4]
    assert tool.main([f"curves={tmp_path}", "column=score"]) == 0
    printed = capsys.readouterr().out
    assert "4 curves, 1 of them shorter than 8 steps: not fitted" in printed
    assert "offset_saturation" in printed and "last 10 steps" in printed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["curve=x"], "unknown setting 'curve' (did you mean 'curves'?)"),
        (["column=reward"], "curves= needs a value; for example curves=runs"),
        (["curves={}/none"], "none holds no *.csv"),
        (["curves={}", "column=score"], "has no column 'score'; it has: step, reward"),
        (["curves={}"], "reward of row 2 is not a finite number"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, words, said):
    Path(tmp_path / "run.csv").write_text("step,reward\n1,0.5\n2,oops\n")
    assert tool.main([word.format(tmp_path) for word in words]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_file_that_cannot_be_used_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"curves=.*holds no"):
        folder_curves(tmp_path)
