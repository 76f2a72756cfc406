"""The page of the early-stopping audit: what its sentences, tables and figure say of runs that are known by hand."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.early_stopping_audit import analysis
from experiments.gather import load
from paper_figures import pages
from paper_figures.__main__ import main
from paper_figures.pages import early_stopping_audit as audit_page
from tests.experiments.test_early_stopping_audit import STEPS, config, recording
from tests.paper_figures.fake_results import FakeStudy


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    recording(folder)
    return folder


@pytest.fixture(scope="module")
def shown(out: Path):
    return pages.page("early_stopping_audit", load(out, "recording"))


def test_everything_is_written_and_the_presets_are_printed(out):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert main([f"out={out}", "experiment=early_stopping_audit"]) == 0
    root = out / "early_stopping_audit"
    names = sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())
    figure = [f"figures/stopping_points_last_digit.{kind}" for kind in ("pdf", "png")]
    tables = [f"tables/{name}.{kind}" for name in ("presets", "rules") for kind in ("csv", "md", "tex")]
    assert names == sorted([*figure, *tables, "report.html"])
    assert "Presets replayed over full runs" in printed.getvalue()
    assert "robust MISSES its target on last_digit" in (root / "report.html").read_text()


def test_the_lead_says_what_was_saved_what_was_killed_and_how_sure_that_is(shown):
    (lead,) = shown.lead
    assert "robust MISSES its target" in lead
    assert "it saves 9.7 % on p, 0.0 % on l, and stops 0 of the 5 runs" in lead
    assert "paper saves 0.0 % on p, 0.0 % on l, and stops 0 of the 5 of them" in lead
    assert "up to 43.4 % (95 % Wilson interval)" in lead


def test_the_lead_says_so_when_the_target_is_met():
    row = {"problem": "t", "preset": True, "model": "p", "saved": 0.25, "top": 3, "kills_high": 0.5}
    rows = [row | {"name": name, "kills": kills} for name, kills in (("paper", 2), ("robust", 0))]
    lead = audit_page.lead(pd.DataFrame(rows), "t")
    assert lead.startswith("robust meets its target on t")
    assert "stops 0 of the 3 runs" in lead and "stops 2 of the 3 of them" in lead


def test_the_tables_say_what_the_analysis_says(shown):
    presets, rules = (group[0] for group in shown.tables)
    rows = {row[:2]: row for row in (*presets.rows, *rules.rows)}
    assert rows["robust", "p"][2:5] == ("7", "1", "9.7") and rows["robust", "p"][6] == "0 of 3"
    assert rows["below_rivals", "p"][2:5] == ("7", "1", "8.1") and rows["below_rivals", "p"][6] == "1 of 3"
    assert rows["below_rivals", "p"][8:10] == ("75.0", "62.0")
    assert rows["kl_growth", "l"][8] == "–"
    assert {name for name, _ in rows} == set(analysis.suspects()) == set(audit_page.WATCHES)


def test_the_papers_own_statement_stands_beside_it(shown):
    published = shown.tables[0][1]
    assert [row[2:] for row in published.rows] == [("full", "88.17"), ("without early stopping", "86.35")]


def test_the_figure_has_a_row_per_preset_and_marks_every_stop(shown):
    (drawing,) = shown.drawings
    titles = [axes.get_title() for axes in drawing.figure.axes]
    assert titles == [
        "paper, p\nstops 0 of 7 (0 in top 3)",
        "paper, l\nstops 0 of 2 (0 in top 3)",
        "robust, p\nstops 1 of 7 (0 in top 3)",
        "robust, l\nstops 0 of 2 (0 in top 3)",
    ]
    points = [[line for line in axes.lines if len(line.get_xdata()) == 1] for axes in drawing.figure.axes]
    assert [len(p) for p in points] == [0, 0, 1, 0]
    assert list(points[2][0].get_xdata()) == [8]


def test_the_drawn_reward_is_a_centred_mean_that_narrows_at_the_ends():
    assert audit_page.smooth([1, 2, 3, 4, 10], 3) == pytest.approx([1.5, 2, 3, 17 / 3, 7])
    assert np.array_equal(audit_page.smooth([0.3], 5), [0.3])


def test_without_a_full_run_the_page_says_so_and_draws_nothing(tmp_path):
    study = FakeStudy(tmp_path, "sobol", 0, experiment="recording", max_steps=STEPS)
    study.run("p", 5, {5: 0.4}, config=config(1e-5))
    shown = pages.page("early_stopping_audit", load(tmp_path, "recording"))
    assert shown.lead == ("No full run of last_digit is recorded yet: there is nothing to replay.",)
    assert shown.drawings == () and shown.tables[0][0].rows == ()
