"""Studies on recorded curves: every method, one worker and many, and what is said of how replay and live agree."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.benchmark.sweep import METHODS
from experiments.config import build_problem
from experiments.config import load as configured
from experiments.gather import FINISHED, Records
from experiments.gather import load as gather
from experiments.replay import analysis
from experiments.replay.heldout import errors, predictions
from experiments.replay.in_hand import in_hand, sooner, standing
from experiments.replay.sweep import SWEEPS
from experiments.run import run_study
from jfhpo.core.errors import UsageError
from jfhpo.core.space import config_key
from jfhpo.core.trial import Cost
from jfhpo.replay.dataset import load
from jfhpo.study.records import read_records
from jfhpo.trainers.curves.trainer import CurvesTrainer
from tests.replay.recorded import NAME, data_set


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("replay")
    data_set(made, 32)
    return made / "data"


def words(folder: Path, out: Path, *more: str, serve: str = "table") -> list[str]:
    settings = f"+problem.trainer_settings={{folder: '{folder}', serve: {serve}}}"
    return [f"problem={NAME}", "problem.trainer=replay", settings, f"out={out}", "budget=480", "tracking=none", *more]


def study(folder: Path, out: Path, *more: str, serve: str = "table"):
    """(summary, events) of one study."""
    config = configured(words(folder, out, *more, serve=serve))
    summary = run_study(config, None)
    return summary, read_records(next(out.glob("*/*/*/seed=*")))


def trials(events) -> list[dict]:
    return [e["trial"] for e in events if e["event"] == "asked"]


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """Method -> (summary, events) of its study, run once."""
    return functools.cache(lambda method: study(folder, tmp_path_factory.mktemp(method), f"method={method}"))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_is_served_from_the_table_and_ends_with_a_recorded_run(folder, run, method):
    summary, events = run(method)
    data = load(NAME, folder)
    on_target = {config_key(data.config(run)) for run in data.runs.query("model == 'l'")["run"]}
    asked = trials(events)
    assert {config_key(t["config"]) for t in asked if t["fidelity"]["model"] == "l"} <= on_target
    assert summary["final"]["status"] in ("completed", "cut") and summary["trials"]["failed"] == 0
    assert config_key(summary["recommended"]) in on_target
    if summary["final"]["status"] == "completed":
        tests = {config_key(data.config(r["run"])): r["test_mean_at_k"] for r in data.runs.to_dict("records")}
        assert summary["test"]["mean_at_k"] == tests[config_key(summary["recommended"])]


@pytest.mark.parametrize("method", [m for m in METHODS if m != "recipe"])
def test_no_method_starts_a_recorded_configuration_twice_before_it_has_seen_them_all(run, method):
    _, events = run(method)
    begun = [t for t in trials(events) if t["resume_from"] == 0]
    fresh = Counter((config_key(t["config"]), t["fidelity"]["model"], t["fidelity"]["steps"]) for t in begun)
    assert max(fresh.values()) == 1 and len(fresh) > 2


def test_a_promoted_configuration_resumes_its_own_recorded_run(run):
    _, events = run("smac")
    asked = trials(events)
    resumed = [t for t in asked if t["resume_from"] > 0]
    started = {e["trial"]: e["resumed_from"] for e in events if e["event"] == "started"}
    assert resumed and all(started[t["id"]] == t["resume_from"] for t in resumed)
    known = {config_key(t["config"]) for t in asked if t["resume_from"] == 0}
    assert {config_key(t["config"]) for t in resumed} <= known


@pytest.mark.parametrize("serve", ["nearest", "surrogate"])
def test_off_the_table_methods_choose_from_the_whole_space(folder, tmp_path, serve):
    summary, events = study(folder, tmp_path, "method=random_search", serve=serve)
    data = load(NAME, folder)
    recorded = {config_key(data.config(run)) for run in data.runs["run"]}
    asked = [config_key(t["config"]) for t in trials(events)]
    assert sum(key in recorded for key in asked) == 1, "the recipe, and nothing else by chance"
    assert 0 < summary["test"]["mean_at_k"] < 1


def test_workers_run_side_by_side_exactly_and_a_study_repeats_bit_for_bit(folder, tmp_path):
    told = []
    for out in (tmp_path / "a", tmp_path / "b"):
        _, events = study(folder, out, "method=asha", "workers=5")
        told.append([(e["time"], e["result"]["trial"], e["result"]["score"]) for e in events if e["event"] == "told"])
    assert told[0] == told[1]
    alone, events = study(folder, tmp_path / "c", "method=asha", "workers=1")
    one, five = (max(time for time, *_ in some) for some in (_ends(events), told[0]))
    spent = sum(e["result"]["cost"]["seconds"] for e in events if e["event"] == "told")
    assert one == pytest.approx(spent, abs=0.01), "one worker's clock is what its trials cost"
    assert five < one / 2
    assert alone["spent"]["seconds"] == pytest.approx(spent, abs=0.01)


class SavesSlowly(CurvesTrainer):
    """Half a second for every checkpoint."""

    def __init__(self, bias: float, noise: float):
        super().__init__(bias, noise)
        self.carried = Cost()

    def save(self, path: Path) -> None:
        self.carried += Cost(seconds=0.5)

    def overhead(self) -> Cost:
        carried, self.carried = self.carried, Cost()
        return carried


def test_saving_a_checkpoint_takes_its_time_on_the_clock_too(tmp_path):
    data_set(tmp_path, 8, SavesSlowly)
    summary, events = study(tmp_path / "data", tmp_path / "out", "method=random_search", "checkpoint_every=5")
    (ended,) = [e["time"] for e in events if e["event"] == "recommended"]
    last_save = 0.5  # goes on when its trial is told: only the worker waits for it
    assert ended + last_save == pytest.approx(summary["search_cost"]["seconds"], abs=0.01)
    told = [e["result"] for e in events if e["event"] == "told"]
    trained = sum(e["record"]["cost"]["seconds"] for e in events if e["event"] == "step")
    assert told and summary["search_cost"]["seconds"] > trained + 0.5


def _ends(events):
    return [(e["time"], e["result"]["trial"]) for e in events if e["event"] == "told"]


def test_the_problem_is_what_was_recorded_or_is_refused(folder, tmp_path):
    def refused(*more: str) -> str:
        with pytest.raises(UsageError) as error:
            build_problem(configured(words(folder, tmp_path, *more)))
        return str(error.value)

    assert "problem.max_steps=25" in refused("problem.max_steps=25", "problem.rungs=[6,25]")
    assert "problem.space.lr" in refused("problem.space.lr.high=0.5")
    assert "trainer_settings.noise=0.5" in refused("problem.trainer_settings.noise=0.5")
    assert "unknown recorded task 'sorting'" in refused("problem.task=sorting")
    assert "valid: l, p" in refused("problem.target=m3")
    assert "problem.recipe" in refused("problem.recipe.kl_loss_coef=0.3")


def test_the_scale_replays_the_live_benchmarks_problems():
    sweep = SWEEPS["replay"]
    assert set(sweep.methods) == set(METHODS) and len(sweep.seeds) == 100
    for name in sweep.problems:
        replayed = configured(["scale=replay", *sweep.problem_words(name)])
        live = configured(["scale=full", *sweep.problem_words(name)])
        assert (replayed.experiment, replayed.problem.trainer, live.problem.trainer) == ("replay", "replay", "mini")
        ours, theirs = dict(replayed.problem), dict(live.problem)
        assert {k for k in ours if ours[k] != theirs[k]} == {"trainer"} and replayed.budget == live.budget


# ---- the analysis


def records(accuracies: dict[str, dict[str, list[float]]]) -> Records:
    """problem -> method -> a test accuracy a seed."""
    rows = [
        {"problem": p, "method": m, "seed": s, "state": FINISHED, "mean_at_k": y, "command": "", "budget": 1.0}
        for p, methods in accuracies.items()
        for m, ys in methods.items()
        for s, y in enumerate(ys)
    ]
    nothing = pd.DataFrame(columns=["problem", "method"])
    return Records("replay", pd.DataFrame(rows), nothing, nothing)


LIVE = {"a": {"recipe": [0.1] * 4, "tpe": [0.2] * 4, "bohb": [0.3] * 4, "jfhpo": [0.4] * 4, "nomad": [0.5] * 4}}


def test_ranks_that_agree_have_a_correlation_of_one_and_reversed_ones_of_minus_one():
    same = analysis.agreement(records(LIVE), records(LIVE))
    assert same["spearman"].tolist() == [pytest.approx(1.0)] and same["low"].tolist() == [pytest.approx(1.0)]
    turned = {"a": {m: [0.6 - y for y in ys] for m, ys in LIVE["a"].items()}}
    assert analysis.agreement(records(turned), records(LIVE))["spearman"].tolist() == [pytest.approx(-1.0)]


def test_by_hand_a_correlation_with_one_pair_swapped():
    """Ranks 1 2 3 4 5 and 1 2 3 5 4: Σd² = 2, ρ = 1 − 6·2/(5·24) = 0.9."""
    swapped = {"a": {**LIVE["a"], "jfhpo": [0.5] * 4, "nomad": [0.4] * 4}}
    assert analysis.agreement(records(swapped), records(LIVE))["spearman"].tolist() == [pytest.approx(0.9)]


def test_a_problem_that_only_one_side_has_is_left_out():
    both = analysis.side_by_side(records({**LIVE, "b": LIVE["a"]}), records(LIVE))
    assert set(both["problem"]) == {"a"} and len(both) == 5


def test_noisy_live_seeds_agree_less_with_each_other():
    rng = np.random.default_rng(0)
    noisy = {"a": {m: [y + rng.normal(0, 0.5) for y in ys] for m, ys in LIVE["a"].items()}}
    clear, blurred = (analysis.agreement(records(LIVE), records(live)).iloc[0] for live in (LIVE, noisy))
    assert blurred["within"] < 0.9 < clear["within"] == pytest.approx(1.0)
    assert clear["possible"] == pytest.approx(1.0)


def test_by_hand_what_halves_that_correlate_by_a_half_could_agree_to(monkeypatch):
    """Twice as many seeds have a reliability of 2·0.5/1.5, and correlate with the truth by its root."""
    monkeypatch.setattr(analysis, "_within", lambda tables: 0.5)
    found = analysis.agreement(records(LIVE), records(LIVE))
    assert found["possible"].tolist() == [pytest.approx((2 / 3) ** 0.5)]


def test_held_out_predictions_are_of_configurations_that_were_not_seen(folder):
    """With 32 smooth curves a size, ranks are found again; the errors' table is of these predictions."""
    data = load(NAME, folder)
    found = predictions(data)
    assert sorted(found["run"]) == sorted(data.runs["run"])
    table = errors(found).set_index("model")
    own = found[found["model"] == "l"]
    assert table.loc["l", "mae"] == pytest.approx((own["predicted_final"] - own["final"]).abs().mean())
    assert table.loc["l", "spearman"] > 0.6 and table.loc["l", "mae"] > 1e-4, "not those that it was fitted to"


def test_a_replayed_experiment_has_a_page(folder, tmp_path):
    from paper_figures.pages import page

    for method in ("random_search", "hyperband", "jfhpo"):
        for seed in (0, 1, 2):
            settings = ["experiment=replay", f"method={method}", f"seed={seed}"]
            run_study(configured(words(folder, tmp_path, *settings)), None)
    found = gather(tmp_path, "replay")
    made = page("replay", found)
    assert {d.name for d in made.drawings} == {"anytime", "critical_difference", "in_hand", "win_rates"}
    (held,) = made.tables[1]
    assert held.name == "in_hand" and len(held.rows) == 3 and len(held.columns) == 4
    (times,) = made.tables[2]
    assert times.name == "jfhpo_in_hand_sooner" and {row[0] for row in times.rows} == {"random_search", "hyperband"}
    assert made.lead[0].startswith("Recorded learning curves")
    (took,) = made.tables[-1]
    assert took.name == "pace" and len(took.rows) == 3
    assert analysis.pace(found)["trials"].sum() == len(found.trials[found.trials["phase"] == "search"])


def test_a_worker_for_every_trial_ends_when_the_longest_of_them_does(folder, tmp_path):
    more = ("method=random_search", "workers=64", "max_trials=64", "budget=100000")
    _, events = study(folder, tmp_path, *more, serve="nearest")
    phases = {e["trial"]["id"]: e["phase"] for e in events if e["event"] == "asked"}
    told = [e for e in events if e["event"] == "told" and phases[e["result"]["trial"]] == "search"]
    assert len(told) == 64
    for event in told:  # all began at 0, so each ends after its own cost
        assert event["time"] == pytest.approx(event["result"]["cost"]["seconds"], abs=2e-3)
    assert [e["time"] for e in told] == sorted(e["time"] for e in told)


def test_a_recording_is_replayed_whole_for_the_experiments_on_curves(folder, tmp_path):
    rungs = "problem.rungs=[6,12,24]"
    words = ["method=recording", "method.configs=1024", "every_step=true", rungs, "budget=1e7"]
    study(folder, tmp_path, *words)
    data, records = load(NAME, folder), gather(tmp_path, "main")
    search = records.trials.query("phase == 'search'")
    assert search.groupby("model").size().to_dict() == {"p": 64, "l": 32}
    trial = search.query("model == 'l'").iloc[3]
    shown = records.steps[records.steps["trial"] == trial["trial"]].sort_values("step")
    recorded = data.curves.merge(
        data.runs.query("model == 'l' and lr == @trial.config['lr']")[["run"]], on="run"
    ).query("step > 0")
    assert len(shown) == 24
    np.testing.assert_array_equal(shown["reward_mean"].to_numpy("float32"), recorded["reward_mean"].to_numpy())


def held_by_hand(events, data) -> list[tuple[float, float]]:
    """(spent, accuracy in hand) of a study of full runs on the target: each favourite from its trial's end on."""
    by_config = {config_key(data.config(row["run"])): row for row in data.runs.query("model == 'l'").to_dict("records")}
    base = data.curve(0, "l")["val_accuracy"].iloc[0]
    found = [(0.0, base)]
    for event in events:
        if event["event"] == "asked" and event["favourite"] is not None:
            found.append((event["spent"]["seconds"], by_config[config_key(event["favourite"])]["test_mean_at_k"]))
    return found


def test_what_is_in_hand_is_the_favourite_once_its_run_is_paid_for(folder, tmp_path):
    _, events = study(folder, tmp_path, "method=random_search")
    found = in_hand(gather(tmp_path, "main"))
    by_hand = held_by_hand(events, load(NAME, folder))
    np.testing.assert_allclose(found[["spent", "accuracy"]].to_numpy()[: len(by_hand)], by_hand)
    assert found["accuracy"].iloc[-1] == gather(tmp_path, "main").studies["mean_at_k"].iloc[0]
    assert len(found) == len(by_hand) + 1 > 3


def test_a_favourite_that_was_never_trained_on_the_target_costs_its_run_on_top(folder, tmp_path):
    _, events = study(folder, tmp_path, "method=jfhpo_paper")
    found, data = in_hand(gather(tmp_path, "main")), load(NAME, folder)
    on_target = [e for e in events if e["event"] == "asked" and e["trial"]["fidelity"]["model"] == "l"]
    assert [e["phase"] for e in on_target] == ["final"], "this method searches on the proxy alone"
    first = next(e for e in events if e["event"] == "asked" and e["favourite"] is not None)
    row = next(
        r
        for r in data.runs.query("model == 'l'").to_dict("records")
        if data.config_of(r)["lr"] == first["favourite"]["lr"]
    )
    curve = data.curves.query("run == @row['run'] and step > 0")
    whole = curve["seconds"].sum() + curve["val_seconds"].iloc[-1]
    assert found["spent"].iloc[1] == pytest.approx(first["spent"]["seconds"] + whole)
    assert found["accuracy"].iloc[1] == row["test_mean_at_k"]


def test_standing_reads_the_curves_at_shares_of_the_budget():
    curves = [("a", 0, 0.3, 0.6), ("a", 0, 0.9, 0.7), ("a", 1, 0.2, 0.4), ("b", 0, 0.1, 0.5), ("b", 1, 0.6, 0.8)]
    rows = [{"problem": "p", "method": m, "seed": s, "share": 0.0, "accuracy": 0.1} for m in "ab" for s in (0, 1)]
    rows += [{"problem": "p", "method": m, "seed": s, "share": x, "accuracy": y} for m, s, x, y in curves]
    found = standing(pd.DataFrame(rows)).set_index(["method", "share"])
    assert found["mean"].round(9).to_dict() == {
        ("a", 0.25): 0.25, ("a", 0.5): 0.5, ("a", 1.0): 0.55, ("b", 0.25): 0.3, ("b", 0.5): 0.3, ("b", 1.0): 0.65,
    }  # fmt: skip
    assert found["rank"].to_dict() == {
        ("a", 0.25): 1.5, ("a", 0.5): 1.0, ("a", 1.0): 1.5, ("b", 0.25): 1.5, ("b", 0.5): 2.0, ("b", 1.0): 1.5,
    }  # fmt: skip


def steps_of(curves: dict[str, list[list[tuple[float, float]]]]) -> pd.DataFrame:
    """Method -> for each seed its (share, accuracy), each beginning at (0, 0)."""
    rows = [
        {"problem": "p", "method": method, "seed": seed, "share": share, "accuracy": accuracy}
        for method, seeds in curves.items()
        for seed, own in enumerate(seeds)
        for share, accuracy in [(0.0, 0.0), *own]
    ]
    return pd.DataFrame(rows)


def test_sooner_is_until_the_mean_holds_what_the_other_ends_with():
    """Their means: a ends at .6, from .8 on; b has .6 at .2, falls to .5 at .3, and is at .7 for good from .4 on."""
    a = [[(0.4, 0.2), (0.8, 0.5)], [(0.6, 0.7)]]
    b = [[(0.2, 0.6), (0.3, 0.4), (0.4, 0.7)], [(0.2, 0.6), (0.4, 0.7)]]
    found = sooner(steps_of({"a": a, "b": b}), "b").set_index("method")
    assert list(found.index) == ["a"] and found.loc["a", "target"] == pytest.approx(0.6)
    assert found.loc["a", "share"] == pytest.approx(0.4) and found.loc["a", "ratio"] == pytest.approx(2.0)
    assert found.loc["a", "low"] <= 2.0 <= found.loc["a", "high"]
    (never,) = sooner(steps_of({"a": a, "b": b}), "a").to_dict("records")
    assert never["ratio"] == 0 and np.isnan(never["share"]) and never["low"] == 0
    assert sooner(steps_of({"a": a}), "b").empty, "a method that did not run"
    alone = sooner(steps_of({"a": a[:1], "b": b[:1]}), "b")
    assert alone["ratio"].notna().all() and alone[["low", "high"]].isna().all(axis=None), "one seed tells no spread"


def test_seeds_that_agree_leave_no_doubt_about_how_much_sooner_one_is():
    found = sooner(steps_of({"a": [[(0.9, 0.5)]] * 4, "b": [[(0.3, 0.5)]] * 4}), "b")
    assert found[["ratio", "low", "high"]].to_numpy()[0] == pytest.approx([3, 3, 3])
