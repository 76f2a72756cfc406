"""The page of GRPOVI: what it says with all runs, with few, with none, and of the search times."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from experiments.gather import load
from paper_figures import pages, published
from paper_figures.pages import grpovi
from paper_figures.write import write_all
from tests.experiments.test_grpovi_analysis import run
from tests.paper_figures.fake_results import FakeStudy


@pytest.fixture
def times(tmp_path, monkeypatch):
    """Times of two algorithms: enumeration 4.0 s and one pass 2 ms at n = 10,000."""
    path = tmp_path / "times.csv"
    rows = [("enumeration", 10, 3e-5), ("one pass", 10, 3e-5), ("enumeration", 10_000, 4.0), ("one pass", 10_000, 2e-3)]
    frame = pd.DataFrame(rows, columns=["algorithm", "n", "seconds"]).assign(repeats=7, machine="a laptop")
    frame.to_csv(path, index=False)
    monkeypatch.setattr(grpovi, "MEASURED", path)
    return path


def full(out):
    for seed in range(4):
        extra = 0.001 * seed
        run(out, "grpo", seed, 0.02 + extra, 0.70)
        run(out, "grpovi", seed, 0.025 + extra, 0.60 + 0.01 * seed)


def written(out) -> tuple[str, str]:
    console = Console(file=io.StringIO(), width=200)
    write_all(out, "grpovi", console)
    return (out / "grpovi/report.html").read_text(), console.file.getvalue()


def test_the_page_says_what_each_method_gains_whatever_the_sign(tmp_path, times):
    full(tmp_path)
    report, printed = written(tmp_path)
    assert "grpovi against grpo on p-graded, points, 4 seeds: final reward +4.0 [–] (no interval)" in report
    assert "test accuracy -8.5 [" in report and "(lower)" in report
    assert "on 4 of 4 seeds within the same steps" in report
    assert "one pass is 2,000 times as fast as enumeration here; in the paper 1,571 times at n = 10,000" in report
    assert "0.8571" not in printed and "4 of 4" in printed
    assert {p.stem for p in (tmp_path / "grpovi/figures").glob("*.png")} == {"curves", "search_time"}
    assert set(pd.read_csv(tmp_path / "grpovi/tables/comparison.csv")) >= {"final_reward_gain", "accuracy_low", "error"}


def test_measured_and_published_times_stand_under_each_other(tmp_path, times):
    full(tmp_path)
    measured, paper = pages.page("grpovi", load(tmp_path, "grpovi")).tables[2]
    cells = {row[0]: row[1:] for row in measured.rows}
    assert cells["enumeration"] == ("30 µs", "–", "–", "4 s")
    assert cells["one pass"] == ("30 µs", "–", "–", "2 ms")
    assert cells["enumeration by one pass"] == ("1.0", "–", "–", "2,000")
    assert cells["the paper's"] == ("1.5", "15.2", "153.5", "1,571")
    assert paper.rows[0] == ("enumeration", "2.2 ms", "171 ms", "17 s", "1,659 s")
    assert "a laptop" in measured.caption


def test_times_that_were_not_measured_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr(grpovi, "MEASURED", tmp_path / "none.csv")
    full(tmp_path)
    shown = pages.page("grpovi", load(tmp_path, "grpovi"))
    assert "The search times are not measured here: python benchmarks/grpovi_search.py." in shown.lead
    assert shown.tables[2][0].errors == (("search times", "not measured: python benchmarks/grpovi_search.py"),)


def test_an_experiment_that_has_only_begun_renders(tmp_path, times):
    FakeStudy(tmp_path, "grpo", 0, experiment="grpovi")
    report, _ = written(tmp_path)
    assert "Nothing of last_digit is finished yet." in report and "unfinished" in report
    run(tmp_path, "grpovi", 0, 0.02, 0.5)
    assert any(
        "no seed with a result of both yet" in text for text in pages.page("grpovi", load(tmp_path, "grpovi")).lead
    )


def test_one_seed_gives_no_interval(tmp_path, times):
    run(tmp_path, "grpo", 0, 0.02, 0.5)
    run(tmp_path, "grpovi", 0, 0.01, 0.4)
    report, printed = written(tmp_path)
    assert "final reward -8.0 [–] (no interval)" in report
    assert "on 0 of 1 seeds" in report and "&lt; 1.00 [–] times as soon" in report
    assert "not reached" in report and "nan" not in printed.lower()


@pytest.mark.parametrize(
    "value, said", [(2.2e-3, "2.2 ms"), (3.08e-5, "31 µs"), (1.98e-6, "2 µs"), (1659.4, "1,659 s"), (4.688, "4.7 s")]
)
def test_a_time_is_read_in_its_own_unit(value, said):
    assert grpovi.seconds(value) == said


def test_the_papers_search_times():
    frame = published.load("grpovi_search").set_index(["algorithm", "n"])["seconds"]
    assert frame["enumeration", 10_000] == 1659.4376 and frame["one pass", 10_000] == 1.0561
    assert len(frame) == 8
