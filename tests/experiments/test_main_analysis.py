"""Numbers of the main experiment against numbers computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from experiments.gather import load
from experiments.main import analysis
from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Cost, Status
from tests.paper_figures.fake_results import RECIPE, FakeStudy, small_tree

T1 = 12.706204736  # Student's t, 97.5 %, 1 degree of freedom
T2 = 4.302652730  # the same with 2


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory):
    out = tmp_path_factory.mktemp("results")
    small_tree(out)
    return load(out, "main")


def row(frame, method: str):
    return frame.set_index("method").loc[method]


# ---- accuracy


def test_accuracy_is_the_mean_over_seeds_with_a_t_interval(records):
    jfhpo = row(analysis.accuracy(records), "jfhpo")
    assert (jfhpo["n"], jfhpo["expected"], jfhpo["basis"]) == (2, 2, "seeds")
    assert jfhpo["mean_at_k"] == pytest.approx(0.85)
    sd = 0.1 / math.sqrt(2)  # of .80 and .90
    assert jfhpo["mean_at_k_half"] == pytest.approx(T1 * sd / math.sqrt(2))
    assert jfhpo["validation"] == pytest.approx(0.85)
    assert (jfhpo["final_steps_least"], jfhpo["final_steps_most"], jfhpo["k"]) == (50, 50, 10)


def test_one_seed_takes_its_interval_from_the_prompts(tmp_path):
    FakeStudy(tmp_path, "recipe", 0).finish(1.0, 0.6, 0.02, prompts=100)
    only = row(analysis.accuracy(load(tmp_path, "main")), "recipe")
    assert only["basis"] == "prompts"
    assert only["mean_at_k_half"] == pytest.approx(1.959964 * 0.02)
    p = 102 / 104  # Agresti and Coull: two successes and two failures more
    assert only["greedy_half"] == pytest.approx(1.959964 * math.sqrt(p * (1 - p) / 104))


def test_methods_stand_in_the_papers_order(records):
    assert list(analysis.accuracy(records)["method"]) == ["recipe", "random_search", "jfhpo"]


def test_validation_of_a_recommendation_that_search_trained_in_full_needs_no_final_trial(records):
    search = records.studies.query("method == 'random_search' and seed == 0").iloc[0]
    assert (search["final_model"], search["final_steps"], search["validation"]) == ("l", 50, 0.7)


def test_comparison_names_the_best_and_hedges(records):
    facts = analysis.comparison(records, "last_digit")
    assert (facts["best"], facts["second"], facts["n"]) == ("jfhpo", "random_search", 2)
    assert facts["gap"] == pytest.approx(0.13)
    assert facts["overlap"] and facts["complete"]
    assert (facts["ahead"], facts["shared"]) == (2, 2)


def test_comparison_sees_intervals_that_do_not_overlap(tmp_path):
    for method, means in {"jfhpo": (0.90, 0.901), "recipe": (0.5, 0.501)}.items():
        for seed, mean in enumerate(means):
            FakeStudy(tmp_path, method, seed).finish(0.9, mean)
    assert not analysis.comparison(load(tmp_path, "main"), "last_digit")["overlap"]


# ---- missing runs


def test_a_run_that_its_neighbours_have_is_an_error_with_its_command(tmp_path):
    FakeStudy(tmp_path, "recipe", 0).finish(0.9, 0.6)
    FakeStudy(tmp_path, "recipe", 1).finish(0.9, 0.6)
    FakeStudy(tmp_path, "jfhpo", 0, scale="smoke").finish(0.9, 0.8)
    records = load(tmp_path, "main")
    gap = analysis.gaps(records).iloc[0]
    assert (gap["method"], gap["seed"], len(analysis.gaps(records))) == ("jfhpo", 1, 1)
    assert gap["message"] == "missing: ./run_all.sh smoke experiment=main method=jfhpo seed=1"
    jfhpo = row(analysis.accuracy(records), "jfhpo")
    assert (jfhpo["n"], jfhpo["expected"]) == (1, 2)
    assert not analysis.comparison(records, "last_digit")["complete"]


def test_an_unfinished_study_has_no_result(tmp_path):
    FakeStudy(tmp_path, "jfhpo", 0).run("l", 50, {50: 0.9})
    records = load(tmp_path, "main")
    assert analysis.gaps(records)["message"].iloc[0].startswith("unfinished: ./run_all.sh mini experiment=main")
    jfhpo = row(analysis.accuracy(records), "jfhpo")
    assert jfhpo["n"] == 0
    assert math.isnan(jfhpo["mean_at_k"])
    assert analysis.comparison(records, "last_digit") == {}


def test_a_study_whose_final_training_failed_is_untested_not_zero(tmp_path):
    study = FakeStudy(tmp_path, "jfhpo", 0)
    study.run("l", 50, {}, phase="final", status=Status.FAILED, reason="TrainingFailed: loss is nan", steps_done=3)
    study.event("recommended", config=RECIPE, summary={})
    study.event("finished")
    records = load(tmp_path, "main")
    assert "untested (final training failed: TrainingFailed: loss is nan)" in analysis.gaps(records)["message"].iloc[0]
    assert math.isnan(row(analysis.accuracy(records), "jfhpo")["greedy"])


def test_an_empty_study_folder_is_an_unfinished_study(tmp_path):
    FakeStudy(tmp_path, "recipe", 0).finish(0.9, 0.6)
    (tmp_path / "main" / "last_digit" / "jfhpo" / "seed=0").mkdir(parents=True)
    assert analysis.gaps(load(tmp_path, "main"))["state"].tolist() == ["unfinished"]


def test_several_problems_keep_apart_and_commands_name_them(tmp_path):
    FakeStudy(tmp_path, "recipe", 0, problem="a").finish(0.9, 0.6)
    FakeStudy(tmp_path, "recipe", 0, problem="b").finish(0.9, 0.7)
    FakeStudy(tmp_path, "jfhpo", 1, problem="b").finish(0.9, 0.8)
    records = load(tmp_path, "main")
    assert records.problems() == ["a", "b"]
    assert set(analysis.gaps(records)["problem"]) == {"b"}
    assert all("problem=b method=" in m for m in analysis.gaps(records)["message"])


def test_unequal_budgets_are_said(tmp_path):
    FakeStudy(tmp_path, "recipe", 0).finish(0.9, 0.6)
    FakeStudy(tmp_path, "jfhpo", 0, budget={"amount": 60.0, "unit": "seconds"}).finish(0.9, 0.6)
    assert analysis.caveats(load(tmp_path, "main"), "last_digit") == [
        "The budgets differ between studies of last_digit: 120.0, 60.0."
    ]


# ---- reading


def test_a_truncated_last_line_is_ignored(tmp_path):
    study = FakeStudy(tmp_path, "recipe", 0)
    study.run("l", 50, {50: 0.6}, phase="final")
    whole = study.records.read_bytes()
    study.finish(0.9, 0.6)
    study.records.write_bytes(whole + b'{"event": "recomm')
    studies = load(tmp_path, "main").studies
    assert studies["state"].tolist() == ["unfinished"]
    assert studies["validation"].tolist() == [0.6]


def test_a_broken_line_before_the_last_is_an_error(tmp_path):
    study = FakeStudy(tmp_path, "recipe", 0)
    with study.records.open("a") as file:
        file.write('{"event": "fini\n')
    study.finish(0.9, 0.6)
    with pytest.raises(UsageError, match="line 2"):
        load(tmp_path, "main")


def test_the_optimizers_seconds_are_those_of_every_event(tmp_path):
    study = FakeStudy(tmp_path, "jfhpo", 0)
    study.run("p", 10, {10: 0.5}, optimizer=3.0)
    study.event("recommended", config=RECIPE, summary={}, optimizer_seconds=0.5)
    assert load(tmp_path, "main").studies["optimizer_seconds"].tolist() == [3.5]


def test_no_results_says_which_command_makes_them(tmp_path):
    FakeStudy(tmp_path, "recipe", 0).finish(0.9, 0.6)
    with pytest.raises(
        UsageError, match=r"there is: main \(did you mean 'main'\?\); make them with: ./run_all.sh mini"
    ):
        load(tmp_path, "mian")


# ---- efficiency


def test_speedup_is_seconds_per_trial_of_random_search_by_those_of_the_method(records):
    table = analysis.efficiency(records)
    search, jfhpo = row(table, "random_search"), row(table, "jfhpo")
    assert search["seconds_per_trial"] == pytest.approx((50 + 30) / 2)
    # 10 + 20 + 10 + 10 steps of 0.4 s in 4 trials
    assert jfhpo["seconds_per_trial"] == pytest.approx(50 * 0.4 / 4)
    assert jfhpo["speedup"] == pytest.approx(40 / 5)
    assert (jfhpo["speedup_low"], jfhpo["speedup_high"]) == pytest.approx((30 / 5, 50 / 5))
    assert search["speedup"] == 1.0
    assert math.isnan(search["speedup_low"])


def test_tokens_per_second_trials_and_the_optimizers_share(records):
    jfhpo = row(analysis.efficiency(records), "jfhpo")
    assert jfhpo["tokens_per_second"] == pytest.approx(200 / 0.4)
    assert jfhpo[["trials", "completed", "early_stopped", "failed", "cut"]].tolist() == [4, 2, 1, 1, 0]
    assert jfhpo["optimizer_share"] == pytest.approx(2 / (2 + 20))
    # the second trial from scratch: 12 s instead of the 8 s that it paid
    assert jfhpo["scratch_seconds_per_trial"] == pytest.approx((20 - 8 + 12) / 4)


def test_the_recipe_has_no_search_to_measure(records):
    recipe = row(analysis.efficiency(records), "recipe")
    assert recipe["n"] == 0
    assert recipe[["tokens_per_second", "seconds_per_trial", "trials", "speedup"]].isna().all()


# ---- curves


def curve(out: Path):
    records = load(out, "main")
    frame = analysis.anytime(records, records.problems()[0])
    return [(p.spent, p.best) for p in frame.itertuples()]


def test_anytime_takes_the_best_on_the_target_and_neither_proxies_nor_failures(tmp_path):
    study = FakeStudy(tmp_path, "jfhpo", 0)
    study.run("p", 10, {10: 0.95})
    study.run("l", 10, {5: 0.3, 10: 0.2})
    study.run("l", 5, {5: 0.99}, status=Status.FAILED)
    study.run("l", 10, {10: 0.4})
    assert curve(tmp_path) == [(15.0, 0.3), (35.0, 0.4), (35.0, 0.4)]


def test_steps_that_a_resumed_study_took_again_are_void(tmp_path):
    study = FakeStudy(tmp_path, "random_search", 0)
    trial = study.ask("l", 30)
    study.start(trial)
    for step in range(1, 16):
        study.step(trial, step, 0.9 if step == 15 else 0.2 if step == 10 else None)
    study.spent = Cost(10.0, 1000, 1e10)  # killed at 15, its last checkpoint was of step 10
    study.start(trial, resumed_from=10)
    for step in range(11, 31):
        study.step(trial, step, 0.5 if step == 15 else 0.6 if step == 30 else None)
    study.tell(trial, Cost(30.0, 3000, 3e10), score=0.6)
    assert curve(tmp_path) == [(10.0, 0.2), (15.0, 0.5), (30.0, 0.6), (30.0, 0.6)]
    assert len(load(tmp_path, "main").steps) == 30


def test_a_trial_that_stopped_between_validations_counts_with_its_score(tmp_path):
    study = FakeStudy(tmp_path, "random_search", 0)
    study.run("l", 50, {5: 0.3}, steps_done=8, status=Status.CUT, reason="budget", score=0.45)
    assert curve(tmp_path) == [(5.0, 0.3), (8.0, 0.45), (8.0, 0.45)]


def test_anytime_is_in_the_unit_of_the_budget(tmp_path):
    FakeStudy(tmp_path, "random_search", 0, budget={"amount": 1e6, "unit": "tokens"}).run("l", 10, {10: 0.3})
    assert curve(tmp_path)[0] == (1000, 0.3)


def test_mean_curve_begins_where_every_seed_has_a_score_and_keeps_what_has_ended(tmp_path):
    FakeStudy(tmp_path, "random_search", 0).run("l", 20, {5: 0.2, 20: 0.4})
    FakeStudy(tmp_path, "random_search", 1).run("l", 30, {10: 0.6, 30: 0.8})
    records = load(tmp_path, "main")
    mean = analysis.mean_curve(analysis.anytime(records, "last_digit"))
    assert mean["spent"].tolist() == [10.0, 20.0, 30.0]
    assert mean["best"].tolist() == pytest.approx([0.4, 0.5, 0.6])


def test_model_spans_tile_the_study(tmp_path):
    study = FakeStudy(tmp_path, "jfhpo", 0)
    study.run("p", 10, {10: 0.5})
    study.run("p", 10, {10: 0.5})
    study.run("l", 5, {5: 0.5})
    study.run("l", 50, {50: 0.5}, phase="final")
    spans = analysis.model_spans(load(tmp_path, "main"), "last_digit")
    assert spans[["model", "phase", "begin", "end"]].values.tolist() == [
        ["p", "search", 0.0, 20.0],
        ["l", "search", 20.0, 25.0],
        ["l", "final", 25.0, 75.0],
    ]


# ---- why


def test_stop_reasons_count_the_rule_that_fired(records):
    trials = records.trials.query("method == 'jfhpo' and seed == 0")
    assert analysis.stop_reasons(trials) == {"early_stopped: reward_drop": 1, "failed: loss is nan at step 10": 1}


def test_search_points_have_the_learning_rate_and_leave_the_final_training_out(records):
    points = analysis.search_points(records, "last_digit")
    assert set(points["method"]) == {"random_search", "jfhpo"}
    assert set(points.query("method == 'jfhpo'")["lr"]) == {1e-3, 1e-2, 5e-2}
