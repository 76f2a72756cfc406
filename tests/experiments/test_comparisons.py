"""Comparisons of methods against scipy, Demšar's tables and cases made by hand."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from experiments.statistics import comparisons
from experiments.statistics.comparisons import (
    bold,
    complete,
    pairwise,
    permutation_p,
    ranks,
    score_table,
    win_rates,
    with_intervals,
)
from experiments.statistics.time_to_target import ratios, summary

NAN = math.nan


def table(values: dict[str, list[float]], problems: int = 1) -> pd.DataFrame:
    """Scores of methods; their values are split evenly over the problems, seeds counted from 0 in each."""
    n = len(next(iter(values.values()))) // problems
    index = pd.MultiIndex.from_product([[f"p{i}" for i in range(problems)], range(n)], names=["problem", "seed"])
    return pd.DataFrame(values, index=index)


def pair(frame: pd.DataFrame, a: str, b: str) -> pd.Series:
    (row,) = [r for _, r in frame.iterrows() if (r["a"], r["b"]) == (a, b)]
    return row


# ---- the table


RUNS = pd.DataFrame(
    [("p", 0, "x", 0.1), ("p", 0, "y", 0.2), ("p", 1, "x", 0.3), ("p", 1, "y", 0.4)],
    columns=["problem", "seed", "method", "score"],
)


def test_a_score_table_is_blocks_by_methods():
    found = score_table(RUNS, "score")
    assert list(found.columns) == ["x", "y"]
    assert found.loc[("p", 1), "y"] == 0.4


def test_a_missing_run_a_run_without_a_score_and_a_run_there_twice_are_refused_by_name():
    with pytest.raises(ValueError, match="without a score: p y seed=1; make them first"):
        score_table(RUNS.iloc[:3], "score")
    with pytest.raises(ValueError, match="p x seed=1"):
        score_table(RUNS.assign(score=[0.1, 0.2, NAN, 0.4]), "score")
    with pytest.raises(ValueError, match="there twice: p x seed=0"):
        score_table(pd.concat([RUNS, RUNS.iloc[:1]]), "score")


@pytest.mark.parametrize("use", [win_rates, ranks, pairwise])
def test_nan_is_refused(use):
    with pytest.raises(ValueError, match="a run is missing"):
        use(table({"x": [0.1, NAN], "y": [0.2, 0.3]}))


def test_what_is_complete_leaves_out_methods_without_a_score_and_blocks_with_a_gap():
    found = complete(table({"x": [0.1, 0.2, 0.3], "y": [0.2, NAN, 0.3], "z": [NAN, NAN, NAN]}))
    assert list(found.columns) == ["x", "y"]
    assert list(found.index) == [("p0", 0), ("p0", 2)]
    assert complete(table({"x": [NAN], "y": [NAN]})).shape == (0, 0)


# ---- win rates


def test_a_tie_counts_half():
    frame = win_rates(table({"x": [0.5, 0.5, 0.9, 0.1], "y": [0.4, 0.5, 0.8, 0.2]}))
    found = pair(frame, "x", "y")
    assert (found["blocks"], found["wins"], found["ties"], found["rate"]) == (4, 2, 1, 0.625)
    assert pair(frame, "y", "x")["rate"] == 0.375
    assert found["low"] == pytest.approx(1 - pair(frame, "y", "x")["high"])
    assert len(win_rates(table({m: [0.1, 0.2] for m in "abcd"}))) == 12


# ---- tests


def test_the_permutation_test_lists_all_sign_patterns():
    assert permutation_p(np.array([0.1, 0.2, 0.3])) == pytest.approx(2 / 8)
    # .5 or more: none of the four is turned below zero, or either one of size .1
    assert permutation_p(np.array([0.1, 0.2, 0.3, -0.1])) == pytest.approx(2 * 3 / 16)
    assert permutation_p(np.full(5, 0.1)) == pytest.approx(2 / 32)
    assert comparisons.least_p(5) == 0.0625
    assert permutation_p(np.array([1.0, 2, 4, 8, 16, 32, 64])) == pytest.approx(comparisons.least_p(7))


def test_equal_pairs_need_no_special_rule():
    assert permutation_p(np.zeros(6)) == 1.0
    # zeros flip to themselves: as if they were not there
    assert permutation_p(np.array([0.1, 0.2, 0.3, 0.4, 0.0, 0.0])) == pytest.approx(2 / 16)
    assert math.isnan(permutation_p(np.array([0.1])))


def test_the_permutation_test_is_scipys():
    differences = np.random.default_rng(2).normal(0.3, 1.0, (9, 4))
    expected = [stats.permutation_test((d,), np.mean, permutation_type="samples").pvalue for d in differences.T]
    assert permutation_p(differences) == pytest.approx(expected)


def test_many_pairs_are_sampled_with_a_fixed_seed_and_agree_with_the_normal_limit():
    differences = np.random.default_rng(1).normal(0.2, 1.0, 60)
    p = permutation_p(differences)
    assert p == permutation_p(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.02)
    assert permutation_p(np.linspace(0.1, 0.2, 60)) == pytest.approx(comparisons.least_p(60))


def test_holm_by_hand():
    assert comparisons.holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert comparisons.holm(np.array([])).tolist() == []


EIGHT = [0.01 * i for i in range(8)]
APART = {"a": [0.9 + e for e in EIGHT], "b": [0.5 + e for e in EIGHT], "c": [0.1 + 2 * e for e in EIGHT]}


def test_a_difference_is_corrected_for_the_number_of_pairs():
    frame = pairwise(table(APART))
    assert frame["p"].tolist() == pytest.approx([2 / 256] * 3)
    assert frame["p_holm"].tolist() == pytest.approx([6 / 256] * 3)
    assert frame["better"].tolist() == ["a", "a", "b"]
    assert pair(frame, "a", "b")["difference"] == pytest.approx(0.4)
    few = pairwise(table({m: v[:5] for m, v in APART.items()}))
    assert few["better"].tolist() == ["", "", ""], "five seeds cannot be significant"


def test_the_interval_of_a_difference_is_paired_by_seed():
    scores = table({"x": [0.9, 0.5, 0.1, 0.3], "y": [0.8, 0.4, 0.0, 0.1]})
    found = with_intervals(pairwise(scores), scores).iloc[0]
    assert found["difference"] == pytest.approx(0.125)
    assert 0.09 < found["low"] < found["high"] < 0.21, "the seeds' own spread is in no difference"


def test_every_problem_counts_the_same_in_a_difference():
    scores = table({"x": [1.0, 1.0, 0.0, 0.0], "y": [0.0] * 4}, problems=2).iloc[:3]
    found = with_intervals(pairwise(scores), scores).iloc[0]
    assert found["difference"] == pytest.approx(0.5)
    assert math.isnan(found["low"]), "one problem has one seed"
    assert found["p"] == pytest.approx(2 / 4)


def test_one_seed_tests_nothing():
    one = table({"x": [0.9], "y": [0.1], "z": [0.5]})
    frame = with_intervals(pairwise(one), one)
    assert frame[["low", "high", "p", "p_holm"]].isna().all().all()
    assert set(frame["better"]) == {""}


def test_bold_is_the_best_and_what_is_not_significantly_worse():
    scores = table(APART)
    assert bold(scores, pairwise(scores)) == {"a"}
    near = scores.assign(d=scores["a"] + np.array([1, -1, 1, -1, 1, -1, 1, -1.1]) / 100)
    assert bold(near, pairwise(near)) == {"a", "d"}


def test_nothing_is_bold_where_nothing_is_significant():
    alike = table({"x": [0.1, 0.9, 0.4, 0.5], "y": [0.2, 0.8, 0.5, 0.4]})
    assert bold(alike, pairwise(alike)) == set()
    one = table({"x": [0.9], "y": [0.1]})
    assert bold(one, pairwise(one)) == set()


# ---- ranks


def test_ranks_share_their_ties_and_the_highest_score_is_first():
    found = ranks(table({"x": [0.9, 0.5], "y": [0.5, 0.5], "z": [0.1, 0.1 + 0.2]}))
    assert found.to_numpy().tolist() == [[1, 2, 3], [1.5, 1.5, 3]]
    assert ranks(table({"x": [0.1 + 0.2], "y": [0.3]})).to_numpy().tolist() == [[1.5, 1.5]], "rounding is no rank"


def test_friedman_is_scipys_and_known_by_hand():
    scores = table({"x": [3.0, 3, 3, 3], "y": [2.0, 2, 2, 2], "z": [1.0, 1, 1, 1]})
    statistic, p = comparisons.friedman(scores)
    assert statistic == pytest.approx(8.0)  # N(k − 1) where all blocks agree
    assert p == pytest.approx(stats.chi2.sf(8.0, 2))


@pytest.mark.parametrize(
    "values", [{"x": [1.0, 2], "y": [2.0, 3]}, {m: [1.0, 2] for m in "xyz"}, {m: [1.0] for m in "xyz"}]
)
def test_two_methods_all_ties_and_one_block_have_no_friedman_test(values):
    assert all(math.isnan(v) for v in comparisons.friedman(table(values)))


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_demsars(methods, q):
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 30))
    assert comparisons.critical_difference(methods, 30) == pytest.approx(expected, rel=1e-3)
    assert math.isnan(comparisons.critical_difference(methods, 1))


def test_nemenyi_is_below_alpha_exactly_where_ranks_lie_beyond_the_critical_difference():
    rng = np.random.default_rng(0)
    scores = table({f"m{i}": list(rng.normal(0.4 * i, 1, 12)) for i in range(6)})
    p, mean = comparisons.nemenyi(scores), ranks(scores).mean()
    beyond = np.abs(np.subtract.outer(mean.to_numpy(), mean.to_numpy())) > comparisons.critical_difference(6, 12)
    assert ((p.to_numpy() < 0.05) == beyond).all()
    assert beyond.any() and not beyond.all()


# ---- time to target


def curve(method: str, points: dict[float, float], problem: str = "p", seed: int = 0) -> pd.DataFrame:
    frame = pd.DataFrame({"spent": list(points), "best": list(points.values())})
    return frame.assign(problem=problem, method=method, seed=seed)


def studies(*names: tuple[str, str, int], budget: float = 100.0) -> pd.DataFrame:
    return pd.DataFrame(names, columns=["problem", "method", "seed"]).assign(budget=budget)


FAST, SLOW = {5.0: 0.3, 10.0: 0.9, 50.0: 0.95}, {40.0: 0.6, 80.0: 0.7, 100.0: 0.7}


def test_the_ratio_is_the_others_time_to_its_own_end_by_the_time_to_the_same_score():
    frame = ratios(pd.concat([curve("a", FAST), curve("b", SLOW)]), studies(("p", "a", 0), ("p", "b", 0)))
    ahead, behind = pair(frame, "a", "b"), pair(frame, "b", "a")
    assert (ahead["ratio"], ahead["reached"]) == (8.0, True)  # b is at .7 from 80 on, a from 10 on
    assert (behind["ratio"], behind["reached"]) == (0.5, False)  # a is at .95 from 50 on, b not within 100


def test_reaching_means_the_same_score_or_more():
    curves = pd.concat([curve("a", {20.0: 0.1 + 0.2}), curve("b", {60.0: 0.3})])
    frame = ratios(curves, studies(("p", "a", 0), ("p", "b", 0)))
    assert pair(frame, "a", "b")["ratio"] == pytest.approx(3.0)
    assert pair(frame, "b", "a")["ratio"] == pytest.approx(1 / 3)
    assert frame["reached"].all()


def test_a_study_that_ended_early_is_censored_at_the_budget_not_at_its_end():
    curves = pd.concat([curve("recipe", {20.0: 0.5}), curve("b", {80.0: 0.7})])
    found = pair(ratios(curves, studies(("p", "recipe", 0), ("p", "b", 0))), "recipe", "b")
    assert (found["ratio"], found["reached"]) == (0.8, False)


def test_a_study_without_a_score_reaches_nothing_and_is_no_target():
    frame = ratios(curve("b", {80.0: 0.7}), studies(("p", "a", 0), ("p", "b", 0)))
    assert frame[["a", "b", "reached", "ratio"]].values.tolist() == [["a", "b", False, 0.8]]


def known(*values: tuple[float, bool], problem: str = "p") -> pd.DataFrame:
    rows = [
        {"problem": problem, "seed": i, "a": "a", "b": "b", "ratio": r, "reached": k} for i, (r, k) in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_the_median_is_of_logarithms_and_exact_where_most_reached():
    (found,) = summary(known((2.0, True), (8.0, True))).to_dict("records")
    assert (found["ratio"], found["at_most"], found["reached"], found["pairs"]) == (pytest.approx(4.0), False, 2, 2)
    (found,) = summary(known((3.0, True), (4.0, True), (0.5, False))).to_dict("records")
    assert (found["ratio"], found["at_most"], found["reached"]) == (pytest.approx(3.0), False, 2)


def test_a_median_among_the_censored_is_only_known_to_be_below():
    (found,) = summary(known((3.0, True), (0.9, False), (0.6, False))).to_dict("records")
    assert (found["ratio"], found["at_most"], found["reached"]) == (pytest.approx(0.9), True, 1)
    assert (found["low"], found["high"]) == (0.0, pytest.approx(3.0))


def test_the_interval_of_a_median_holds_what_seeds_can_give_and_needs_two():
    (found,) = summary(known((2.0, True), (8.0, True))).to_dict("records")
    assert (found["low"], found["high"]) == (pytest.approx(2.0), pytest.approx(8.0))
    (found,) = summary(known((2.0, True))).to_dict("records")
    assert found["ratio"] == pytest.approx(2.0) and math.isnan(found["low"]) and math.isnan(found["high"])


def test_seeds_are_drawn_within_their_problem():
    frame = pd.concat([known((2.0, True), (2.0, True)), known((8.0, True), (8.0, True), problem="q")])
    (found,) = summary(frame).to_dict("records")
    assert (found["ratio"], found["low"], found["high"]) == pytest.approx((4.0, 4.0, 4.0))
