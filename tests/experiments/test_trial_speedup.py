"""The speedup per trial and its factors against numbers computed by hand."""

from __future__ import annotations

import math

import pytest

from experiments.gather import load
from experiments.main.analysis import efficiency
from experiments.sweeps import studies_of
from experiments.trial_speedup import analysis
from experiments.trial_speedup.analysis import FACTORS
from jfhpo.core.trial import Cost, Status
from tests.paper_figures.fake_results import FakeStudy, small_tree


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory):
    """Per trial of random_search: 50 steps, 5000 tokens, 50 or 30 s. Of jfhpo: p for 10 of 10 steps, 30 of 30 from
    10, 10 of 50 (stopped), 10 of 50 (failed), 200 tokens and 0.4 s a step."""
    out = tmp_path_factory.mktemp("results")
    small_tree(out)
    return load(out, "main")


def row(frame, method: str):
    return frame.set_index("method").loc[method]


def test_the_quantities_per_trial(records):
    jfhpo = row(analysis.breakdown(records), "jfhpo")
    assert jfhpo["asked"] == pytest.approx((10 + 30 + 50 + 50) / 4)
    assert jfhpo["after_stopping"] == pytest.approx((10 + 30 + 10 + 50) / 4)
    assert jfhpo["reached"] == pytest.approx((10 + 30 + 10 + 10) / 4)
    assert jfhpo["run"] == pytest.approx((10 + 20 + 10 + 10) / 4)
    assert (jfhpo["tokens"], jfhpo["seconds"]) == pytest.approx((12.5 * 200, 12.5 * 0.4))


def test_the_factors_and_that_their_product_is_the_speedup(records):
    jfhpo = row(analysis.factors(records), "jfhpo")
    assert jfhpo["fewer_steps"] == pytest.approx(50 / 35)
    assert jfhpo["stopping"] == pytest.approx(35 / 25)
    assert jfhpo["failed"] == pytest.approx(25 / 15)
    assert jfhpo["reuse"] == pytest.approx(15 / 12.5)
    assert jfhpo["tokens_per_step"] == pytest.approx(100 / 200)
    assert jfhpo["tokens_per_second"] == pytest.approx((2500 / 5) / (5000 / 40))
    assert math.prod(jfhpo[f] for f in FACTORS) == pytest.approx(8.0)
    assert jfhpo["speedup"] == pytest.approx(row(efficiency(records), "jfhpo")["speedup"])
    assert (jfhpo["reference_seconds"], jfhpo["seconds"]) == pytest.approx((40.0, 5.0))


def test_the_reference_has_factors_of_one_and_the_recipe_has_none(records):
    frame = analysis.factors(records)
    assert list(frame["method"]) == ["random_search", "jfhpo"]
    assert [row(frame, "random_search")[f] for f in FACTORS] == pytest.approx([1.0] * len(FACTORS))


def test_what_stopping_and_reuse_saved(records):
    jfhpo = row(analysis.breakdown(records), "jfhpo")
    assert jfhpo["stopped_share"] == pytest.approx(40 / 140)
    assert jfhpo["resumed_share"] == pytest.approx(10 / 60)
    assert jfhpo["reuse_seconds"] == pytest.approx((12 - 8) / 4)
    assert jfhpo["reuse_share"] == pytest.approx(1 / 6)
    assert row(analysis.breakdown(records), "random_search")["reuse_seconds"] == 0.0


def test_trials_are_priced_by_model_and_the_paper_counts_those_on_the_proxy(tmp_path):
    for seed in range(2):
        search = FakeStudy(tmp_path, "random_search", seed)
        search.run("l", 50, {50: 0.5}, cost=Cost(1.0 + seed, 100, 1e9))
        search.finish(0.9, 0.5)
        ours = FakeStudy(tmp_path, "jfhpo", seed)
        for _ in range(3):
            ours.run("p", 10, {10: 0.5}, cost=Cost(0.5, 200, 1e8))
        ours.run("l", 10, {10: 0.5}, cost=Cost(1.5, 120, 1e9))
        ours.run("l", 50, {50: 0.9}, phase="final", cost=Cost(9.0, 100, 1e9))  # no search trial
        ours.finish(0.9, 0.9)
    records = load(tmp_path, "main")
    jfhpo = row(analysis.breakdown(records), "jfhpo")
    assert jfhpo["proxy_share"] == 0.75
    assert (jfhpo["proxy_seconds"], jfhpo["target_seconds"]) == pytest.approx((5.0, 15.0))
    assert (jfhpo["proxy_rate"], jfhpo["target_rate"]) == pytest.approx((400.0, 80.0))
    assert row(analysis.factors(records), "jfhpo")["speedup"] == pytest.approx(75 / 7.5)
    assert jfhpo["proxy_speedup"] == pytest.approx(75 / 5)
    assert (jfhpo["proxy_speedup_low"], jfhpo["proxy_speedup_high"]) == pytest.approx((50 / 5, 100 / 5))
    reference = row(analysis.breakdown(records), "random_search")
    assert reference["proxy_share"] == 0.0
    assert math.isnan(reference["proxy_seconds"])


def test_a_trial_that_the_budget_cut_is_left_out(tmp_path):
    """It would make long trials look shorter than they are."""
    study = FakeStudy(tmp_path, "random_search", 0)
    study.run("l", 50, {50: 0.5})
    study.run("l", 50, {}, steps_done=20, status=Status.CUT, reason="the study's budget was spent")
    study.finish(0.9, 0.5)
    records = load(tmp_path, "main")
    found = row(analysis.breakdown(records), "random_search")
    assert (found["stopped_share"], found["after_stopping"], found["reached"]) == (0.0, 50.0, 50.0)
    assert found["seconds"] == row(efficiency(records), "random_search")["seconds_per_trial"] == 50.0


def test_a_search_of_one_cut_trial_has_no_seconds_per_trial(tmp_path):
    study = FakeStudy(tmp_path, "random_search", 0)
    study.run("l", 50, {}, steps_done=20, status=Status.CUT, reason="the study's budget was spent")
    study.finish(0.9, 0.5)
    records = load(tmp_path, "main")
    assert math.isnan(row(efficiency(records), "random_search")["seconds_per_trial"])
    assert row(efficiency(records), "random_search")["cut"] == 1
    assert math.isnan(row(analysis.breakdown(records), "random_search")["seconds"])


def test_a_search_under_way_is_not_counted(tmp_path):
    FakeStudy(tmp_path, "random_search", 0).run("l", 50, {50: 0.5})
    records = load(tmp_path, "main")
    assert analysis.search_trials(records).empty
    found = row(analysis.breakdown(records), "random_search")
    assert (found["n"], found["expected"]) == (0, 1)
    assert math.isnan(found["seconds"])
    assert analysis.speedups(records).empty


def test_without_random_search_there_is_no_speedup(tmp_path):
    study = FakeStudy(tmp_path, "jfhpo", 0)
    study.run("p", 10, {10: 0.5})
    study.finish(0.9, 0.9)
    found = row(analysis.factors(load(tmp_path, "main")), "jfhpo")
    assert math.isnan(found["speedup"])
    assert all(math.isnan(found[f]) for f in FACTORS)


def test_nothing_is_trained_for_it():
    assert studies_of("trial_speedup") == "ablations"
