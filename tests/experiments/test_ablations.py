"""Paired differences of the ablations against numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.ablations import analysis
from experiments.gather import load
from experiments.main.analysis import scores
from jfhpo.core.trial import Status
from tests.paper_figures.fake_results import FakeStudy

T1 = 12.706204736  # Student's t, 97.5 %, 1 degree of freedom


def finished(out: Path, **means: dict[int, float]):
    """Records of studies with these test mean@k: method -> seed -> value."""
    for method, by_seed in means.items():
        for seed, mean in by_seed.items():
            FakeStudy(out, method, seed, experiment="ablations").finish(0.9, mean)
    return load(out, "ablations")


def row(frame, method: str):
    return frame.set_index("method").loc[method]


# ---- pairs


def test_rows_are_compared_on_the_seeds_that_both_have(tmp_path):
    records = finished(tmp_path, jfhpo={0: 0.90, 1: 0.80, 2: 0.10}, no_proxy={0: 0.88, 1: 0.81, 3: 0.99})
    found = row(analysis.paired(records, "jfhpo"), "no_proxy")
    assert (found["pairs"], found["ahead"], found["tied"], found["behind"]) == (2, 1, 0, 1)
    assert found["difference"] == pytest.approx((-0.02 + 0.01) / 2)
    half = T1 * 0.015  # t · s/√2 with s = 0.03/√2
    assert (found["t_low"], found["t_high"]) == pytest.approx((-0.005 - half, -0.005 + half))
    assert (found["low"], found["high"]) == pytest.approx((-0.02, 0.01))  # all that two values can give


def test_a_difference_is_the_rows_score_less_the_references(tmp_path):
    records = finished(tmp_path, random_search={0: 0.6, 1: 0.7, 2: 0.8}, jfhpo={0: 0.9, 1: 0.7, 2: 0.9})
    ahead = row(analysis.paired(records, "random_search"), "jfhpo")
    behind = row(analysis.paired(records, "jfhpo"), "random_search")
    assert ahead["difference"] == pytest.approx(0.4 / 3)
    assert behind["difference"] == pytest.approx(-0.4 / 3)
    assert (ahead["ahead"], ahead["tied"], behind["behind"], behind["tied"]) == (2, 1, 2, 1)
    assert list(analysis.paired(records, "jfhpo")["method"]) == ["random_search"]


def test_a_run_without_a_result_is_left_out_and_never_a_zero(tmp_path):
    study = FakeStudy(tmp_path, "no_proxy", 1, experiment="ablations")
    study.run("l", 50, {}, phase="final", status=Status.FAILED, reason="loss is nan", steps_done=3)
    study.event("finished")
    FakeStudy(tmp_path, "no_proxy", 2, experiment="ablations").run("p", 10, {10: 0.5})
    records = finished(tmp_path, jfhpo={0: 0.9, 1: 0.8, 2: 0.8, 3: 0.8}, no_proxy={0: 0.7})
    found = row(analysis.paired(records, "jfhpo"), "no_proxy")
    assert (found["pairs"], found["difference"]) == (1, pytest.approx(-0.2))
    table = scores(records, "last_digit")
    assert table["no_proxy"].isna().tolist() == [False, True, True, True]
    assert list(table.columns) == ["jfhpo", "no_proxy"]


def test_without_the_reference_nothing_is_compared(tmp_path):
    found = row(analysis.paired(finished(tmp_path, recipe={0: 0.5, 1: 0.6}), "jfhpo"), "recipe")
    assert found["pairs"] == 0
    assert math.isnan(found["difference"])
    assert math.isnan(found["low"])


def test_several_problems_keep_apart(tmp_path):
    for problem, ours in (("a", 0.9), ("b", 0.5)):
        FakeStudy(tmp_path, "jfhpo", 0, experiment="ablations", problem=problem).finish(0.9, ours)
        FakeStudy(tmp_path, "recipe", 0, experiment="ablations", problem=problem).finish(0.9, 0.6)
    frame = analysis.paired(load(tmp_path, "ablations"), "jfhpo").set_index("problem")
    assert frame["difference"].to_dict() == pytest.approx({"a": -0.3, "b": 0.1})


# ---- intervals


def test_an_interval_that_is_not_known_excludes_nothing():
    assert analysis.excludes_zero(0.01, 0.2)
    assert analysis.excludes_zero(-0.2, -0.01)
    assert not analysis.excludes_zero(-0.1, 0.1)
    assert not analysis.excludes_zero(0.0, 0.1)
    assert not analysis.excludes_zero(math.nan, math.nan)


# ---- overview


def test_the_overview_has_the_worst_seed_the_trials_and_the_final_trainings_cut_short(tmp_path):
    for seed, (steps, mean) in enumerate([(50, 0.9), (40, 0.3)]):
        study = FakeStudy(tmp_path, "jfhpo", seed, experiment="ablations")
        for _ in range(2 + 2 * seed):
            study.run("p", 10, {10: 0.5})
        cut = {} if steps == 50 else {"status": Status.CUT, "reason": "the study's budget was spent"}
        study.run("l", 50, {}, phase="final", steps_done=steps, **cut)
        study.finish(0.9, mean)
    FakeStudy(tmp_path, "recipe", 0, experiment="ablations").finish(0.9, 0.5)
    frame = analysis.overview(load(tmp_path, "ablations"))
    ours = row(frame, "jfhpo")
    assert (ours["worst"], ours["final_cut"], ours["trials"]) == (0.3, 1, 3)
    assert ours["seconds_per_trial"] == pytest.approx(10.0)
    assert (ours["final_steps_least"], ours["final_steps_most"]) == (40, 50)
    assert math.isnan(ours["difference"])
    assert row(frame, "recipe")["difference"] == pytest.approx(-0.4)
    assert math.isnan(row(frame, "recipe")["trials"])
