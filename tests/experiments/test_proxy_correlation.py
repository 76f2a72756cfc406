"""Rank correlation between proxy and target, against numbers computed by hand and against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.gather import load
from experiments.proxy_correlation import analysis, ranks
from experiments.statistics.intervals import bootstrap_weights
from experiments.sweeps import studies_of, sweeps
from tests.paper_figures.fake_recording import by_ranks, flat, record, recording, sixteen

FEW, REACH = 5, 0.9


def read(out):
    return load(out, "recording")


def rows(out):
    return analysis.correlations(read(out), "last_digit", FEW, REACH).set_index(["model", "transfer", "step"])


# ---- ranks


@pytest.fixture
def tied():
    rng = np.random.default_rng(3)
    x = rng.integers(0, 6, 12).astype(float)
    return x, x + rng.integers(0, 5, 12)


def test_a_row_of_ones_is_scipys_coefficient_with_ties(tied):
    one = np.ones((1, 12))
    assert ranks.spearman(*tied, one)[0] == pytest.approx(stats.spearmanr(*tied).statistic)
    assert ranks.kendall(*tied, one)[0] == pytest.approx(stats.kendalltau(*tied).statistic)


def test_multiplicities_mean_repeated_configurations(tied):
    weights = bootstrap_weights(12)[:20]
    for found, library in ((ranks.spearman, stats.spearmanr), (ranks.kendall, stats.kendalltau)):
        expected = [library(*(np.repeat(v, row.astype(int)) for v in tied)).statistic for row in weights]
        assert found(*tied, weights) == pytest.approx(expected)


def test_draws_have_the_size_they_say_and_are_the_same_every_time():
    assert set(bootstrap_weights(7).sum(axis=1)) == {7.0}
    few = ranks.subset_weights(7, 5)
    assert set(few.sum(axis=1)) == {5.0} and few.max() == 1.0
    assert np.array_equal(bootstrap_weights(7), bootstrap_weights(7))
    assert np.array_equal(few, ranks.subset_weights(7, 5))


def test_regret_of_taking_the_best_as_it_is():
    x, y = np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.2, 0.8, 0.6, 0.3])
    weights = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [2, 0, 0, 0], [0, 3, 1, 0]], dtype=float)
    # the best by x: .3; two share it: their mean; itself; the same two, one of them three times
    assert ranks.picked(x, y, weights) == pytest.approx([0.3, 0.7, 0.2, 0.75])
    assert ranks.lost(x, y, weights) == pytest.approx([0.5, 0.1, 0.0, 0.05])


def test_a_constant_has_no_rank_correlation():
    one = np.ones((1, 4))
    assert np.isnan(ranks.spearman(np.zeros(4), np.arange(4.0), one)).all()
    assert np.isnan(ranks.kendall(np.arange(4.0), np.zeros(4), one)).all()


# ---- correlations of a recording


def test_correlations_by_hand(tmp_path):
    by_ranks(tmp_path, proxy=[0.1, 0.2, 0.3, 0.4], mapped=[0.1, 0.2, 0.4, 0.3], target=[0.2, 0.3, 0.6, 0.5])
    as_it_is, mapped = rows(tmp_path).loc[("p", "none", 8)], rows(tmp_path).loc[("p", "width", 8)]
    assert as_it_is["spearman"] == pytest.approx(1 - 6 * 2 / (4 * 15))  # two ranks differ by one
    assert as_it_is["kendall"] == pytest.approx((5 - 1) / 6)
    assert (mapped["spearman"], mapped["kendall"]) == pytest.approx((1.0, 1.0))
    assert (as_it_is["picked"], as_it_is["best"], as_it_is["lost"]) == pytest.approx((0.5, 0.6, 0.1))
    assert mapped["lost"] == 0.0


def test_too_few_configurations_have_no_interval(tmp_path):
    by_ranks(tmp_path, [0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.4, 0.3], [0.2, 0.3, 0.6, 0.5])
    ends = [f"{name}_{end}" for name in analysis.MEASURES for end in ("low", "high")]
    assert rows(tmp_path)[[*ends, "few_low", "few_high", "share_as_high"]].isna().all(axis=None)
    assert analysis.gain_of_mapping(read(tmp_path), "last_digit", "p") == {}


def test_the_target_at_fewer_steps_is_a_cheap_run_too_but_not_against_itself(tmp_path):
    by_ranks(tmp_path, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.2, 0.3, 0.6])
    assert [key for key in rows(tmp_path).index if key[0] == "l"] == [("l", "none", 4)]


def test_cost_is_seconds_by_those_of_a_full_target_run(tmp_path):
    by_ranks(tmp_path, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.2, 0.3, 0.6])
    cost = rows(tmp_path)["cost"]
    assert cost["p", "none", 8] == pytest.approx(0.25)  # a step of p takes a quarter of the target's second
    assert cost["p", "width", 4] == pytest.approx(0.125)
    assert cost["l", "none", 4] == pytest.approx(0.5)


def test_a_failed_run_is_the_lowest_rank_and_is_counted(tmp_path):
    study = recording(tmp_path)
    for i, (proxy, target) in enumerate([(flat(0.2), flat(0.3)), (flat(0.3), 2), (flat(0.1), flat(0.2))]):
        record(study, {"lr": 1e-4, "kl_loss_coef": i + 1}, {("p", "none"): proxy, ("p", "width"): proxy, "l": target})
    row = rows(tmp_path).loc[("p", "none", 8)]
    assert (row["n"], row["failed"], row["left_out"]) == (3, 1, 0)
    assert row["spearman"] == pytest.approx(-0.5)  # proxy ranks 2 3 1, target ranks 3 1 2
    assert row["lost"] == pytest.approx(0.3)  # the proxy's best has nothing to show on the target


def test_a_configuration_without_its_target_run_is_left_out_and_counted(tmp_path):
    by_ranks(tmp_path, [0.1, 0.2, 0.3], [0.1, 0.2, 0.3], [0.2, 0.3, 0.6])
    study = recording(tmp_path, seed=1)
    record(study, {"lr": 1e-3, "kl_loss_coef": 0.2}, {("p", "none"): flat(0.3)})
    assert rows(tmp_path).loc[("p", "none", 8), ["n", "left_out"]].tolist() == [3, 1]


def test_intervals_hold_the_value_and_are_the_same_every_time(tmp_path):
    sixteen(tmp_path)
    frame = rows(tmp_path)
    assert frame.equals(rows(tmp_path))
    for name in ("spearman", "kendall"):
        assert (frame[f"{name}_low"] <= frame[name]).all() and (frame[name] <= frame[f"{name}_high"]).all()
    mapped = frame.loc[("p", "width", 8)]
    assert mapped[["spearman", "spearman_low", "few_low", "share_as_high"]].tolist() == pytest.approx([1.0] * 4)
    assert frame.loc[("p", "none", 8), "spearman"] < 0.9  # the proxy bears learning rates that the target does not


def test_the_gain_of_mapping_is_the_difference_over_the_same_resamples(tmp_path):
    sixteen(tmp_path)
    frame, gain = rows(tmp_path), analysis.gain_of_mapping(read(tmp_path), "last_digit", "xs")
    as_it_is, mapped = frame.loc[("xs", "none", 8)], frame.loc[("xs", "width", 8)]
    assert gain["gain"] == pytest.approx(mapped["spearman"] - as_it_is["spearman"])
    # the mapped one is 1 in every resample, so the difference mirrors the other's interval
    assert (gain["low"], gain["high"]) == pytest.approx((1 - as_it_is["spearman_high"], 1 - as_it_is["spearman_low"]))


def test_a_recording_of_nothing_but_the_target_has_no_proxy(tmp_path):
    study = recording(tmp_path)
    study.event("finished")
    assert rows(tmp_path).empty
    assert math.isnan(analysis.agreement(np.array([]), np.array([]), FEW, REACH)["picked"])


def test_it_trains_nothing_of_its_own():
    assert studies_of("proxy_correlation") == studies_of("sensitivity") == "recording"
    assert sweeps("proxy_correlation") is sweeps("recording")
