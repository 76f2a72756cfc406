"""The benchmark's page: what it says and draws with many runs, with one seed, and half done."""

from __future__ import annotations

import html
import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from experiments.gather import load
from paper_figures import comparison_figures, formats, pages
from paper_figures.write import write_all
from tests.paper_figures.fake_benchmark import TWELVE, benchmark, study
from tests.paper_figures.fake_results import FakeStudy

FIVE = ("recipe", "random_search", "tpe", "jfhpo_paper", "jfhpo")


def written(out):
    """Names of the figures, the report's text, and what was printed."""
    console = Console(file=io.StringIO(), width=240)
    write_all(out, "benchmark", console)
    root = out / "benchmark"
    report = html.unescape((root / "report.html").read_text())
    return {p.stem for p in root.glob("figures/*.png")}, report, console.file.getvalue()


def cells(table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip((c.header for c in table.columns), row, strict=True)) for row in table.rows}


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("done")
    benchmark(out, FIVE, ["a-m3", "a-l"], range(5))
    return out, pages.page("benchmark", load(out, "benchmark"))


def test_everything_is_drawn_written_and_said(done):
    figures, report, printed = written(done[0])
    assert figures == {"anytime", "critical_difference", "win_rates"}
    stems = {p.name for p in (done[0] / "benchmark/tables").glob("*.csv")}
    assert stems == {f"{n}.csv" for n in ("benchmark", "time_to_target", "efficiency", "win_rates", "significance")}
    assert printed.index("How much sooner") < printed.index("Test accuracy of every method")
    assert "jfhpo has the highest mean test accuracy over 2 problems and 10 blocks" in report
    assert "nan" not in printed


def test_the_accuracy_table_is_by_task_and_target_beside_the_papers(done):
    table, published = done[1].tables[0]
    heads = [c.header for c in table.columns]
    assert heads == ["method", "a, l %", "a, m3 %", "average %", "IQM %", "mean rank", "paper %"]
    assert cells(table)["jfhpo"]["paper %"] == "76.3"
    assert (cells(table)["random_search"]["paper %"], cells(table)["tpe"]["paper %"]) == ("not recovered", "–")
    assert len(published.rows) == 8


def test_only_the_average_can_have_bold_with_five_seeds_and_the_caption_says_why(done):
    table = done[1].tables[0][0]
    place = {row[0]: i for i, row in enumerate(table.rows)}
    assert table.bold == {(place["jfhpo"], 3)}
    assert "With 5 seeds a single problem's column cannot have any" in table.caption
    average = re.escape(cells(table)["jfhpo"]["average %"])
    assert re.search(rf"\*\*{average}\*\*", formats.to_markdown(table))
    assert re.search(rf"<b>{average}</b>", formats.to_html(table))
    assert re.search(rf"\\textbf{{{average}}}", formats.to_latex(table))
    assert "**" not in formats.to_csv(table)


def test_the_lead_names_who_is_behind_and_who_cannot_be_told_apart(done, tmp_path):
    said = " ".join(done[1].lead)
    assert "jfhpo is significantly better than jfhpo_paper, tpe, random_search, recipe (paired permutation" in said
    assert "Friedman's test: χ² = 3" in said and "methods differ in rank. Critical difference: 1.93 ranks." in said
    for seed in range(9):
        for method, score in (("jfhpo", 0.8), ("tpe", 0.8 + 0.01 * (-1) ** seed), ("recipe", 0.4 + 0.001 * seed)):
            study(tmp_path, method, "a-l", seed, score)
    said = " ".join(pages.page("benchmark", load(tmp_path, "benchmark")).lead)
    assert "tpe is significantly better than recipe" in said and "not distinguishable from it: jfhpo." in said


def test_nothing_is_ranked_where_nothing_is_significant(tmp_path):
    benchmark(tmp_path, ("recipe", "jfhpo"), ["a-l"], range(3))
    page = pages.page("benchmark", load(tmp_path, "benchmark"))
    assert "No method is significantly better than any other: not a ranking." in " ".join(page.lead)
    assert "with 3 blocks the smallest possible p, corrected for 1 pairs, is 0.250." in " ".join(page.lead)
    assert page.tables[0][0].bold == frozenset()


def test_the_time_table_says_what_is_only_known_to_be_below(done):
    (table, whole), *_ = done[1].tables[1:]
    found = cells(table)
    assert re.fullmatch(r"\d\.\d\d \[[\d.]+, [\d.]+\]", found["recipe"]["jfhpo: times sooner"])
    assert table.rows[0][2] == "10 of 10"
    assert found["jfhpo"]["jfhpo_paper: times sooner"].startswith("<0.9")
    assert cells(whole)["recipe"]["jfhpo"] == "<0.90 (0/10)"
    assert cells(whole)["recipe"]["recipe"] == "–"


def test_matrices_have_a_row_and_a_column_per_method_and_mark_what_is_significant(done):
    (wins,), (tests,) = done[1].tables[3:]
    assert [row[0] for row in wins.rows] == list(FIVE) == [c.header for c in wins.columns[1:]]
    assert cells(wins)["jfhpo"]["recipe"] == "100.0 [72, 100]"
    assert cells(tests)["jfhpo"]["recipe"].startswith("+16.")
    assert cells(tests)["recipe"]["jfhpo"].startswith("-16.")
    ours, recipe = FIVE.index("jfhpo"), FIVE.index("recipe")
    assert {(ours, 1 + recipe), (recipe, 1 + ours)} <= tests.bold
    assert {"low", "high", "p", "p_holm"} <= set(tests.data.columns)


def test_missing_runs_are_errors_in_every_table_with_numbers(tmp_path):
    benchmark(tmp_path, ("recipe", "jfhpo"), ["a-l", "b-l"], [0, 1])
    study(tmp_path, "tpe", "a-l", 0, 0.6)
    FakeStudy(tmp_path, "tpe", 0, problem="b-l", task="b", experiment="benchmark", scale="full")
    _, report, printed = written(tmp_path)
    message = "1 unfinished and 1 missing: ./run_all.sh full experiment=benchmark problem=b-l method=tpe"
    assert printed.count(message) == 2 and report.count(message) == 4
    assert "3 of 12 runs are missing (see the tables), so all of this may change." in report
    assert "1 problem and 1 block." in report
    rows = pd.read_csv(tmp_path / "benchmark/tables/benchmark.csv").set_index("method")
    assert message in rows.loc["tpe", "error"] and np.isnan(rows.loc["tpe", "b-l"])


def test_one_seed_renders_and_ranks_nothing(tmp_path):
    benchmark(tmp_path, ("recipe", "random_search", "jfhpo"), ["last_digit"], [0])
    figures, report, printed = written(tmp_path)
    assert figures == {"anytime", "win_rates"}
    assert "With one block there is nothing to test: not a ranking." in report
    assert (
        "±" not in cells(pages.page("benchmark", load(tmp_path, "benchmark")).tables[0][0])["jfhpo"]["last_digit, l %"]
    )
    assert "nan" not in printed


def test_a_benchmark_that_has_only_begun_compares_nothing(tmp_path):
    FakeStudy(tmp_path, "jfhpo", 0, experiment="benchmark", scale="full").run("p", 10, {10: 0.5})
    figures, report, printed = written(tmp_path)
    assert figures == {"anytime"}
    assert "nothing is compared" in report and "nan" not in printed


# ---- figures


def test_labels_are_spread_as_little_as_need_be():
    assert comparison_figures.spread(np.array([0.1, 0.5, 0.9]), 0.2).tolist() == pytest.approx([0.1, 0.5, 0.9])
    assert comparison_figures.spread(np.array([0.5, 0.5]), 0.2).tolist() == pytest.approx([0.4, 0.6])
    found = comparison_figures.spread(np.array([0.2, 0.3, 0.31, 0.32]), 0.1)
    assert (np.diff(found) >= 0.1 - 1e-12).all()
    assert comparison_figures.spread(np.array([0.97, 0.98, 0.99]), 0.1).tolist() == pytest.approx([0.8, 0.9, 1.0])
    assert comparison_figures.spread(np.full(5, 0.5), 0.4).tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert comparison_figures.spread(np.array([]), 0.1).size == 0


def test_twelve_methods_have_twelve_colours_and_no_label_covers_another(tmp_path):
    benchmark(tmp_path, TWELVE, ["a-l"], [0, 1])
    page = pages.page("benchmark", load(tmp_path, "benchmark"))
    for drawing in page.drawings:
        drawing.figure.draw_without_rendering()
    anytime, ranks, _ = (d.figure.axes[0] for d in page.drawings)
    labels = [t for t in anytime.texts if t.get_text() in TWELVE]
    assert len(labels) == 12 == len({t.get_color() for t in labels})
    for texts in (labels, [t for t in ranks.texts if "(" in t.get_text()]):
        boxes = [t.get_window_extent() for t in texts]
        assert len(boxes) == 12
        assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[i + 1 :])
