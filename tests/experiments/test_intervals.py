"""Intervals against closed forms, scipy and cases small enough to list."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from experiments.statistics import intervals
from experiments.statistics.intervals import (
    band,
    bca_interval,
    bootstrap_ratio,
    difference_interval,
    iqm,
    mean_of_strata,
    pooled_iqm,
    ratio_of_sums,
    share_half_width,
    stratified_bootstrap,
    stratified_draws,
    t_half_width,
    wilson,
)

T2 = 4.302652730  # Student's t, 97.5 %, 2 degrees of freedom


def unknown(interval: tuple[float, float]) -> bool:
    return all(math.isnan(end) for end in interval)


# ---- means and shares


def test_t_interval_of_three_values():
    assert t_half_width([1.0, 2.0, 3.0]) == pytest.approx(T2 / math.sqrt(3))
    assert math.isnan(t_half_width([1.0]))


def test_share_interval_counts_two_successes_and_two_failures_more():
    p = 52 / 104
    assert share_half_width(0.5, 100) == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 104))
    assert share_half_width(1.0, 100) > 0


@pytest.mark.parametrize(("won", "of"), [(0, 18), (1, 3), (7, 20), (18, 18)])
def test_wilson_is_scipys_and_takes_half_successes(won, of):
    expected = stats.binomtest(won, of).proportion_ci(method="wilson")
    assert wilson(won, of) == pytest.approx((expected.low, expected.high))
    low, high = wilson(of / 2, of)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert unknown(wilson(0, 0))


def test_the_interquartile_mean_cuts_a_quarter_at_each_end():
    assert iqm([0.0, 1.0, 2.0, 100.0]) == 1.5
    assert iqm([-50.0, 1, 2, 3, 4, 5, 6, 70]) == pytest.approx((2 + 3 + 4 + 5) / 4)
    assert iqm([3.0, 1.0, 8.0]) == pytest.approx(4.0)  # a quarter of three, rounded down, is none
    assert iqm(np.array([[0.0, 1, 2, 9], [4.0, 4, 4, 4]]), axis=1).tolist() == [1.5, 4.0]


@pytest.mark.parametrize("use", [iqm, bca_interval, lambda v: difference_interval([v, v]), lambda v: pooled_iqm([v])])
def test_a_value_that_is_not_finite_is_refused(use):
    with pytest.raises(ValueError, match="not finite; a run is missing"):
        use(np.array([0.1, math.nan, 0.3]))


# ---- resampling


def test_draws_stay_within_their_stratum_and_repeat():
    draws = stratified_draws([[0.0, 1.0], [10.0, 11.0, 12.0]])
    assert [d.shape for d in draws] == [(intervals.RESAMPLES, 2), (intervals.RESAMPLES, 3)]
    assert set(np.unique(draws[0])) == {0.0, 1.0} and set(np.unique(draws[1])) == {10.0, 11.0, 12.0}
    assert np.array_equal(draws[1], stratified_draws([[0.0, 1.0], [10.0, 11.0, 12.0]])[1])
    assert not np.array_equal(draws[0], stratified_draws([[0.0, 1.0]], seed=1)[0])


def test_strata_keep_the_difference_between_problems_out_of_the_interval():
    strata = [[0.2, 0.2, 0.2], [0.8, 0.8, 0.8]]
    assert stratified_bootstrap(strata, mean_of_strata) == pytest.approx((0.5, 0.5))
    low, high = stratified_bootstrap([[0.2, 0.8]], mean_of_strata)
    assert (low, high) == pytest.approx((0.2, 0.8))  # a quarter of the draws each is all low, all high


def test_every_problem_counts_the_same_however_many_seeds_it_has():
    low, high = stratified_bootstrap([[0.0, 0.0], [1.0] * 10], mean_of_strata)
    assert (low, high) == (0.5, 0.5)


def test_the_bootstrap_of_a_mean_has_the_standard_error_of_the_plug_in_formula():
    values = np.linspace(0, 1, 40)
    low, high = stratified_bootstrap([values], mean_of_strata)
    assert (high - low) / (2 * 1.959964) == pytest.approx(values.std() / math.sqrt(40), rel=0.03)


def test_one_seed_of_any_problem_gives_no_interval():
    assert unknown(stratified_bootstrap([[0.1, 0.2], [0.3]], mean_of_strata))
    assert unknown(stratified_bootstrap([], mean_of_strata))
    assert unknown(bootstrap_ratio([1.0, 2.0], [1.0]))
    assert unknown(ratio_of_sums(np.array([1]), np.array([2])))


def test_an_iqms_interval_ignores_what_the_iqm_ignores():
    low, high = stratified_bootstrap([[0.5] * 12 + [0.0]], pooled_iqm)
    assert (low, high) == (0.5, 0.5)


def test_bootstrap_ratio_repeats_and_holds_what_two_values_can_give():
    assert bootstrap_ratio([50.0, 30.0], [5.0, 5.0]) == (6.0, 10.0)
    assert bootstrap_ratio([4.0, 6.0, 5.0], [1.0, 2.0]) == bootstrap_ratio([4.0, 6.0, 5.0], [1.0, 2.0])


def test_a_ratio_of_sums_resamples_pairs():
    saved, steps = np.array([0, 0, 10, 20]), np.array([50, 50, 50, 50])
    low, high = ratio_of_sums(saved, steps)
    assert (low, high) == ratio_of_sums(saved, steps)
    assert 0 <= low < 0.15 < high <= 0.4
    assert ratio_of_sums(np.array([5, 10]), np.array([50, 100])) == pytest.approx((0.1, 0.1))


def test_percentiles_need_most_draws():
    assert intervals.percentiles(np.linspace(0, 1, 1001)) == pytest.approx((0.025, 0.975))
    assert unknown(intervals.percentiles(np.array([np.nan, np.nan, 0.5])))


def test_bca_repeats_and_moves_with_its_values():
    values = [0.02, 0.05, -0.01, 0.30, 0.04, 0.03, 0.00, 0.06]
    low, high = bca_interval(values)
    assert (low, high) == bca_interval(values)
    assert bca_interval([v + 1 for v in values]) == pytest.approx((low + 1, high + 1), abs=1e-3)
    mean = sum(values) / len(values)
    assert high - mean > mean - low > 0  # skewed as its values are, which a t interval is not


def test_one_difference_or_equal_differences_give_no_bca_interval():
    for values in ([], [0.1], [0.1, 0.1, 0.1], [0.9 - 0.8, 0.8 - 0.7, 0.1]):
        assert unknown(bca_interval(values))


def test_a_difference_on_one_problem_is_bca_and_on_several_stratified():
    one, two = [0.02, 0.05, -0.01, 0.30], [0.1, 0.2, 0.1, 0.1]
    assert difference_interval([one]) == bca_interval(one)
    assert difference_interval([one, two]) == stratified_bootstrap([one, two], mean_of_strata)


# ---- curves


def test_a_step_curve_is_read_at_its_last_value_so_far():
    found = intervals.at_times([2.0, 5.0], [0.3, 0.6], np.array([1.0, 2.0, 4.9, 5.0, 9.0]))
    assert math.isnan(found[0])
    assert found[1:].tolist() == [0.3, 0.3, 0.6, 0.6]


CURVES = [([1.0, 4.0], [0.2, 0.8]), ([2.0, 6.0], [0.4, 0.6]), ([1.0], [0.3])]


def test_a_band_begins_where_every_seed_has_a_score_and_holds_the_mean():
    found = band(CURVES, np.arange(0.0, 9.0))
    assert found["spent"].tolist() == [2, 3, 4, 5, 6, 7, 8]
    assert found["value"].tolist() == pytest.approx([0.3, 0.3, 0.5, 0.5, 1.7 / 3, 1.7 / 3, 1.7 / 3])
    assert (found["low"] <= found["value"]).all() and (found["value"] <= found["high"]).all()
    # at time 2: all three draws the lowest (1 of 27 > 2.5 %), all the highest
    assert found.loc[0, ["low", "high"]].tolist() == pytest.approx([0.2, 0.4])
    assert found.loc[0, ["low", "high"]].tolist() == found.loc[1, ["low", "high"]].tolist()
    assert found["high"].iloc[2] == pytest.approx(0.8)


def test_a_band_may_be_of_medians():
    assert band(CURVES, np.array([8.0]), np.median)["value"].tolist() == [0.6]


def test_one_seed_has_a_curve_and_no_band():
    found = band(CURVES[:1], np.array([0.0, 1.0, 5.0]))
    assert found["value"].tolist() == [0.2, 0.8]
    assert found[["low", "high"]].isna().all().all()


def test_seeds_that_never_have_a_score_together_have_no_curve():
    assert band(CURVES, np.array([0.0, 1.5])).empty
