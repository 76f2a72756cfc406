"""The benchmark's sweep and analysis: what is run, what is compared on which blocks, and what is said to be missing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.benchmark import analysis
from experiments.benchmark.sweep import METHODS, SWEEPS
from experiments.config import load
from experiments.gather import load as gather
from experiments.statistics.intervals import t_half_width
from jfhpo.core.trial import Status
from jfhpo.study.methods import methods
from jfhpo.tasks import TASKS
from tests.paper_figures.fake_benchmark import benchmark, study
from tests.paper_figures.fake_results import FakeStudy

THREE = ("recipe", "random_search", "jfhpo")


def read(out: Path):
    return gather(out, "benchmark")


def row(frame, method: str):
    return frame.set_index("method").loc[method]


@pytest.fixture(scope="module")
def two_problems(tmp_path_factory):
    out = tmp_path_factory.mktemp("benchmark")
    benchmark(out, THREE, ["a-l", "b-l"], range(6))
    return read(out)


# ---- what is run


def test_every_method_but_the_recording_is_compared_in_the_order_of_the_tables():
    assert set(METHODS) == set(methods()) - {"recording"}
    assert (METHODS[0], METHODS[-2:]) == ("recipe", ("jfhpo_paper", "jfhpo"))


def test_every_problem_is_run_on_every_target_under_a_name_of_its_own():
    full = SWEEPS["full"]
    assert len(full.problems) == 2 * len(TASKS)
    assert len(full.seeds) >= 5
    for name in ("last_digit-m3", "last_digit-l"):
        problem = load(["scale=full", *full.problem_words(name)]).problem
        assert (problem.name, problem.task, problem.target) == (name, "last_digit", name.split("-")[1])


# ---- accuracy


def test_accuracy_is_by_problem_and_its_average_over_problems(two_problems):
    found = row(analysis.accuracy(two_problems), "jfhpo")
    table = analysis.scores(two_problems)
    a, b = (table.loc[p, "jfhpo"] for p in ("a-l", "b-l"))
    assert (found["a-l"], found["b-l"], found["a-l_seeds"]) == (pytest.approx(a.mean()), pytest.approx(b.mean()), 6)
    assert found["a-l_half"] == pytest.approx(t_half_width(a.tolist()))
    assert found["average"] == pytest.approx((a.mean() + b.mean()) / 2)
    middle = sorted([*a, *b])[3:9]
    assert found["iqm"] == pytest.approx(sum(middle) / 6)
    assert found["average_low"] < found["average"] < found["average_high"]


def test_ranks_and_bold_are_over_all_blocks(tmp_path):
    benchmark(tmp_path, THREE, ["a-l", "b-l"], range(6), noise=0.001)
    frame = analysis.accuracy(read(tmp_path))
    assert frame["rank"].tolist() == [3.0, 2.0, 1.0]
    assert frame["average_bold"].tolist() == [False, False, True]
    assert frame["a-l_bold"].sum() == 0, "6 seeds: the smallest p is 2/64, times 3 pairs .094"


def test_headings_name_task_and_target_where_that_tells_problems_apart(two_problems, tmp_path):
    assert analysis.headings(two_problems) == {"a-l": "a, l", "b-l": "b, l"}
    for name in ("x", "y"):
        FakeStudy(tmp_path, "recipe", 0, problem=name, task="same", experiment="benchmark").finish(0.9, 0.5)
    assert analysis.headings(read(tmp_path)) == {"x": "x", "y": "y"}


# ---- what is missing


@pytest.fixture
def with_gaps(tmp_path):
    """random_search lacks a-l seed 1 and both seeds of b-l; jfhpo's last run of b-l left nothing to test."""
    benchmark(tmp_path, ("recipe", "jfhpo"), ["a-l"], [0, 1])
    benchmark(tmp_path, ("recipe",), ["b-l"], [0, 1])
    study(tmp_path, "jfhpo", "b-l", 0, 0.8)
    failed = FakeStudy(tmp_path, "jfhpo", 1, problem="b-l", task="b", experiment="benchmark", scale="full")
    failed.run("l", 50, {}, phase="final", status=Status.FAILED, reason="loss is nan", steps_done=3)
    failed.event("finished")
    study(tmp_path, "random_search", "a-l", 0, 0.6)
    for seed in (0, 1):
        FakeStudy(tmp_path, "random_search", seed, problem="b-l", task="b", experiment="benchmark", scale="full")
    return read(tmp_path)


def test_runs_are_compared_on_the_blocks_that_all_methods_have(with_gaps):
    assert list(analysis.blocks(with_gaps).index) == [("a-l", 0)]
    frame = analysis.accuracy(with_gaps)
    assert math.isnan(row(frame, "random_search")["average"]), "an average over fewer problems is another quantity"
    assert row(frame, "random_search")["b-l_seeds"] == 0
    assert row(frame, "jfhpo")["b-l"] == 0.8
    assert row(frame, "recipe")["rank"] == 3.0


def test_what_is_missing_is_named_with_one_command_a_method_and_problem(with_gaps):
    frame = analysis.missing(with_gaps).set_index(["problem", "method"])
    command = "./run_all.sh full experiment=benchmark problem"
    assert len(frame) == 3
    one, both = (frame.loc[(p, "random_search")] for p in ("a-l", "b-l"))
    assert (one["seeds"], one["message"]) == ("1", f"1 missing: {command}=a-l method=random_search seed=1")
    assert (both["seeds"], both["message"]) == ("0,1", f"2 unfinished: {command}=b-l method=random_search")
    assert frame.loc[("b-l", "jfhpo"), "message"].startswith(
        "untested (final training failed: loss is nan): delete its"
    )


def test_a_method_of_one_problem_is_missed_on_the_others(tmp_path):
    benchmark(tmp_path, ("recipe",), ["a-l", "b-l"], [0, 3])
    study(tmp_path, "jfhpo", "a-l", 0, 0.8)
    study(tmp_path, "jfhpo", "a-l", 3, 0.8)
    (row,) = analysis.missing(read(tmp_path)).to_dict("records")
    assert (row["problem"], row["method"], row["runs"], row["seeds"]) == ("b-l", "jfhpo", 2, "0,3")
    assert row["message"] == "2 missing: ./run_all.sh full experiment=benchmark problem=b-l method=jfhpo"


def test_a_command_names_the_only_problem_where_it_is_not_the_usual_one(tmp_path):
    study(tmp_path, "recipe", "a-l", 0, 0.5)
    study(tmp_path, "recipe", "a-l", 1, 0.5)
    study(tmp_path, "jfhpo", "a-l", 1, 0.5)
    (message,) = analysis.missing(read(tmp_path))["message"]
    assert message.endswith("experiment=benchmark problem=a-l method=jfhpo seed=0")


# ---- time


def test_times_compare_anytime_curves_of_one_problem_and_seed(tmp_path):
    study(tmp_path, "jfhpo", "a-l", 0, 0.9, first=10.0)  # .55 at 10, .725 at 26, .8125 at 42, ..., .9 at 90
    study(tmp_path, "random_search", "a-l", 0, 0.7, first=10.0)  # .7 at 90
    study(tmp_path, "recipe", "a-l", 0, 0.5)  # .5 at 20
    records = read(tmp_path)
    found = analysis.times(records, analysis.curves(records)).set_index(["a", "b"])
    assert found.loc[("jfhpo", "random_search"), "ratio"] == pytest.approx(90 / 26)
    assert found.loc[("jfhpo", "recipe"), "ratio"] == pytest.approx(20 / 10)
    behind = found.loc[("recipe", "jfhpo")]
    assert (behind["ratio"], behind["at_most"], behind["reached"]) == (pytest.approx(90 / 100), True, 0)


def test_an_unfinished_study_has_no_curve_to_compare(with_gaps):
    found = analysis.times(with_gaps, analysis.curves(with_gaps)).set_index(["a", "b"])
    assert found.loc[("jfhpo", "random_search"), "pairs"] == 1
    assert found.loc[("jfhpo", "recipe"), "pairs"] == 3


def test_bands_reach_to_the_budget(two_problems):
    bands = analysis.bands(two_problems, "a-l", analysis.curves(two_problems))
    ours = bands[bands["method"] == "jfhpo"]
    assert ours["spent"].iloc[-1] == 100.0
    assert ours["value"].iloc[-1] == pytest.approx(analysis.scores(two_problems).loc["a-l", "jfhpo"].mean())
    assert (ours["low"] <= ours["value"]).all() and set(ours["seeds"]) == {6}
