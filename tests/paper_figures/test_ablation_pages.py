"""The pages that read the ablations: what they say and draw, with all seeds, with one, and half done."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.ablations.sweep import ROWS
from experiments.gather import load
from jfhpo.core.trial import Cost, Status
from paper_figures import pages, published
from paper_figures.write import write_all
from tests.paper_figures.fake_results import FakeStudy

EXPERIMENTS = ("ablations", "trial_speedup")
MEANS = {
    "recipe": 0.40, "random_search": 0.70, "jfhpo_paper": 0.60, "jfhpo": 0.90, "no_proxy": 0.89,
    "no_checkpoint_reuse": 0.85, "no_early_stopping": 0.90, "scaling_law_rule": 0.88,
    "no_lr_mapping": 0.80, "smaller_proxy": 0.89,
}  # fmt: skip


def study(out: Path, method: str, seed: int, mean: float) -> None:
    """A finished study: the recipe only trains its configuration, random_search the target at 1 s a step, the others
    a proxy at 0.2 s, one of them from a checkpoint, one stopped early, and the target for 10 steps."""
    fake = FakeStudy(out, method, seed, experiment="ablations", scale="bench")
    if method == "random_search":
        fake.run("l", 50, {50: mean})
    elif method != "recipe":
        cheap = Cost(0.2, 100, 1e8)
        fake.run("p", 10, {10: 0.3}, cost=cheap)
        fake.run("p", 25, {25: 0.5}, cost=cheap, resumed_from=10, scratch=Cost(5.0, 2500, 25e8))
        stop = {"status": Status.EARLY_STOPPED, "reason": "below_rivals at step 10", "steps_done": 10}
        fake.run("p", 50, {10: 0.1}, cost=cheap, **stop)
        if method != "jfhpo_paper":
            fake.run("l", 10, {10: 0.4})
    fake.run("l", 50, {50: mean}, phase="final")
    fake.finish(0.95, mean)


def tree(out: Path, seeds: Sequence[int], rows: Sequence[str] = ROWS) -> None:
    """Every row at its mean; seeds move all rows by 0.1 points a seed, and each row's difference by 0 or 1 points."""
    for seed in seeds:
        for method in rows:
            luck = 0.01 * ((seed + len(method)) % 2) if method != "jfhpo" else 0.0
            study(out, method, seed, MEANS[method] + 0.001 * seed + luck)


def written(out: Path, experiment: str) -> tuple[set[str], str, str]:
    """Names of the figures, the report's text, and what was printed."""
    console = Console(file=io.StringIO(), width=240)
    write_all(out, experiment, console)
    root = out / experiment
    report = html.unescape((root / "report.html").read_text())
    return {p.stem for p in root.glob("figures/*.png")}, report, console.file.getvalue()


def cells(table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip((c.header for c in table.columns), row, strict=True)) for row in table.rows}


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("four")
    tree(out, range(4))
    return out


# ---- ablations


def test_everything_is_drawn_and_written(four):
    figures, _, printed = written(four, "ablations")
    assert figures == {"differences_last_digit", "anytime_last_digit"}
    stems = {p.name for p in (four / "ablations/tables").glob("*.csv")}
    assert stems == {"ablations.csv", "against_random_search.csv", "by_seed.csv"}
    assert printed.index("by seed") < printed.index("Each method against") < printed.index("with one mechanism")
    numbers = pd.read_csv(four / "ablations/tables/ablations.csv").set_index("method")
    assert numbers.loc["no_proxy", "paper_points"] == pytest.approx(-1.29)
    assert numbers.loc["no_proxy", "difference"] == pytest.approx(-0.005)


def test_rows_stand_in_the_order_of_the_sweep_beside_the_papers_differences(four):
    overview, quoted = pages.page("ablations", load(four, "ablations")).tables[0]
    assert tuple(cells(overview)) == ROWS
    paper = {method: row["paper, points to full"] for method, row in cells(overview).items()}
    assert (paper["no_proxy"], paper["no_checkpoint_reuse"], paper["no_early_stopping"]) == ("-1.29", "-3.33", "-1.82")
    assert (paper["no_lr_mapping"], paper["jfhpo"], paper["random_search"]) == ("–", "–", "–")
    assert cells(overview)["jfhpo"]["paper %"] == cells(overview)["jfhpo_paper"]["paper %"] == "88.17"
    assert [row[-1] for row in quoted.rows] == ["+0.00", "-1.29", "-3.33", "-1.82"]


def test_a_row_says_how_far_it_is_from_jfhpo_and_on_how_many_seeds_it_is_behind(four):
    overview = cells(pages.page("ablations", load(four, "ablations")).tables[0][0])
    assert overview["no_lr_mapping"]["points to jfhpo"].startswith("-9.5 [-10.0, -9.")
    assert overview["no_lr_mapping"]["jfhpo ahead"] == "4 of 4"
    assert (overview["jfhpo"]["points to jfhpo"], overview["jfhpo"]["jfhpo ahead"]) == ("–", "–")
    assert (overview["jfhpo"]["worst seed %"], overview["jfhpo"]["trials"]) == ("90.0", "4.0")
    assert (overview["recipe"]["trials"], overview["recipe"]["final steps"]) == ("–", "50")


def test_the_lead_says_who_wins_and_what_each_ablation_shows(four):
    said = pages.page("ablations", load(four, "ablations")).lead
    assert said[0].startswith(
        "no_early_stopping has the highest mean test accuracy on last_digit: 90.6 % (mean@10, n=4)"
    )
    assert "jfhpo against random_search: +19.5 points [+19.0, +20.0]" in said[1]
    assert said[1].endswith("the interval excludes zero: above random_search.")
    assert "this holds, its worst seed is at 90.0 % (n=4)" in said[2]
    by_row = {text.split()[0]: text for text in said[3:]}
    assert set(by_row) == set(ROWS) - {"jfhpo", "random_search"}
    assert "ahead on 0 of 4 seeds; the interval excludes zero: below jfhpo." in by_row["no_lr_mapping"]
    assert by_row["no_checkpoint_reuse"].endswith("The paper: -3.33 points.")


def test_intervals_that_disagree_conclude_nothing(tmp_path):
    for seed, (ours, without) in enumerate([(0.90, 0.89), (0.90, 0.80), (0.90, 0.90)]):
        study(tmp_path, "jfhpo", seed, ours)
        study(tmp_path, "no_proxy", seed, without)
        study(tmp_path, "no_lr_mapping", seed, ours + (0.05 if seed else -0.05))
    said = " ".join(pages.page("ablations", load(tmp_path, "ablations")).lead)
    assert "no_lr_mapping against jfhpo: +1.7 points" in said
    assert "the interval includes zero: no effect is shown, nor is there proof of none." in said


def test_equal_differences_give_no_interval(tmp_path):
    for seed in range(3):
        study(tmp_path, "jfhpo", seed, 0.5)
        study(tmp_path, "no_proxy", seed, 0.5)
    figures, report, _ = written(tmp_path, "ablations")
    assert "no_proxy against jfhpo: +0.0 points on each of 3 seeds: equal differences give no interval." in report
    assert "differences_last_digit" in figures


def test_one_broken_seed_of_jfhpo_is_said_aloud(tmp_path):
    study(tmp_path, "jfhpo", 0, 0.95)
    study(tmp_path, "jfhpo", 1, 0.12)
    said = pages.page("ablations", load(tmp_path, "ablations")).lead
    assert "jfhpo must not have one seed below 70.0 %: this FAILS, its worst seed is at 12.0 % (n=2)." in said


def test_final_trainings_that_the_budget_cut_are_said(tmp_path):
    study(tmp_path, "jfhpo", 0, 0.9)
    fake = FakeStudy(tmp_path, "jfhpo_paper", 0, experiment="ablations")
    fake.run("l", 50, {}, phase="final", steps_done=42, status=Status.CUT, reason="the study's budget was spent")
    fake.finish(0.9, 0.4)
    shown = pages.page("ablations", load(tmp_path, "ablations"))
    assert "The budget ended in the final training of jfhpo_paper (on 1 of 1 seeds)" in shown.lead[-1]
    assert cells(shown.tables[0][0])["jfhpo_paper"]["final steps"] == "42 (1 cut)"


# ---- speedup


def test_the_speedup_stands_beside_the_papers(four):
    figures, report, printed = written(four, "trial_speedup")
    assert figures == {"factors_last_digit"}
    for table in ("Efficiency of the search", "product of factors", "What a search trial is made of"):
        assert table in printed
    # random_search 50 s; a proxy trial (2 + 3 + 2)/3 s; jfhpo besides a target trial of 10 s: 17/4 s
    assert "jfhpo: 11.8 times (95 % [11.8, 11.8]) the trials in the same time (the paper's JF-HPO: 14.9" in report
    assert "counted per proxy trial (75.0 % of its trials) 21.4 times" in report
    assert "jfhpo_paper: 21.4 times" in report
    assert "The paper's BOHB has 4.0 and 3.0 times; it is not among the rows here." in report
    (efficiency, quoted), (factors,), (breakdown,) = pages.page("trial_speedup", load(four, "ablations")).tables
    assert cells(efficiency)["jfhpo_paper"]["paper speedup"] == cells(efficiency)["jfhpo"]["paper speedup"]
    assert "beside jfhpo_paper, which follows it to the letter" in efficiency.caption
    assert "recipe" not in cells(factors)
    assert cells(breakdown)["jfhpo"]["s saved by reuse"] == "0.50 (10.5 %)"
    assert cells(breakdown)["random_search"]["s per proxy trial"] == "–"
    assert len(quoted.rows) == 6


# ---- half done


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_one_seed_renders_and_has_no_intervals(experiment, tmp_path):
    tree(tmp_path, [0])
    figures, report, printed = written(tmp_path, experiment)
    assert figures
    assert "nan" not in printed
    if experiment == "ablations":
        assert "jfhpo against random_search: +19.0 points on one seed: no interval, no conclusion." in report
        assert "interval excludes zero" not in report
    else:
        assert "jfhpo: 11.8 times (no interval)" in report


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_missing_runs_are_errors_in_every_table_with_numbers(experiment, tmp_path):
    tree(tmp_path, [0, 1], ("random_search", "jfhpo"))
    study(tmp_path, "no_proxy", 0, 0.9)
    FakeStudy(tmp_path, "jfhpo_paper", 0, experiment="ablations", scale="bench").run("p", 10, {10: 0.5})
    _, report, printed = written(tmp_path, experiment)
    for message in (
        "missing: ./run_all.sh bench experiment=ablations method=no_proxy seed=1",
        "unfinished: ./run_all.sh bench experiment=ablations method=jfhpo_paper seed=0",
    ):
        assert printed.count(message) == (2 if experiment == "ablations" else 3)
        assert message in report
    if experiment == "ablations":
        assert "No seed with a result for both jfhpo and jfhpo_paper: nothing is said of these." in report
        assert "Runs are missing (see the tables), so all of this may change." in report


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_experiments_that_have_only_begun_conclude_nothing(experiment, tmp_path):
    FakeStudy(tmp_path, "jfhpo", 0, experiment="ablations").run("p", 10, {10: 0.5})
    _, report, printed = written(tmp_path, experiment)
    expected = {"ablations": "has a test result yet", "trial_speedup": "No speedup on last_digit yet"}
    assert expected[experiment] in report
    assert "nan" not in printed


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_several_problems_keep_apart(experiment, tmp_path):
    for problem in ("a", "b"):
        for method in ("random_search", "jfhpo"):
            fake = FakeStudy(tmp_path, method, 0, experiment="ablations", problem=problem)
            fake.run("l", 50, {50: 0.5})
            fake.finish(0.9, 0.6)
    figures, _, printed = written(tmp_path, experiment)
    assert "a: jfhpo" in printed and "b: jfhpo" in printed
    assert {name.rsplit("_", 1)[1] for name in figures} == {"a", "b"}


def test_the_papers_losses_are_its_accuracies_less_that_of_the_full_method():
    assert published.ablation_loss("no_checkpoint_reuse") == pytest.approx(84.84 - 88.17)
    assert published.ablation_loss("no_lr_mapping") is None
    assert published.ablation_loss("recipe") is None
