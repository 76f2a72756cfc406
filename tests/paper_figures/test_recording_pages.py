"""The pages that read the recording: what they say and draw, at full scale, at smoke scale and half done."""

from __future__ import annotations

import io
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from experiments.gather import load
from experiments.sensitivity import analysis as sensitivity
from paper_figures import pages
from paper_figures.cells import bracketed
from paper_figures.write import write_all
from tests.paper_figures.fake_recording import flat, record, recording, sixteen, smoke

EXPERIMENTS = ("proxy_correlation", "sensitivity")


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    monkeypatch.setattr(sensitivity, "RESAMPLES", 4)


def written(out: Path, experiment: str) -> tuple[set[str], str, str]:
    """Names of the figures, the report, and what was printed."""
    console = Console(file=io.StringIO(), width=200)
    write_all(out, experiment, console)
    root = out / experiment
    report = (root / "report.html").read_text()
    return {p.stem for p in root.glob("figures/*.png")}, report, console.file.getvalue()


def cells(table) -> dict[str, dict[str, str]]:
    return {row[0]: dict(zip((c.header for c in table.columns), row, strict=True)) for row in table.rows}


def test_the_proxy_correlation_of_sixteen(tmp_path):
    sixteen(tmp_path)
    figures, report, printed = written(tmp_path, "proxy_correlation")
    assert figures == {"scatter_last_digit", "over_steps_last_digit"}
    assert "p, lr × width" in printed and "1.00 [1.00, 1.00]" in printed
    for said in (
        "over 16 configurations of last_digit", "the lowest rank", "The paper&#x27;s 0.90 is from 5 configurations",
        "left out and counted", "one training run per configuration",
    ):  # fmt: skip
        assert said in report
    numbers = pd.read_csv(tmp_path / "proxy_correlation/tables/correlation_by_step.csv")
    assert set(numbers.columns) >= {"spearman_low", "kendall_high", "lost", "left_out", "failed"}
    assert len(numbers) == 2 * 2 * 2 + 1  # two proxies, two transfers, two steps, and the target at step 4


def test_the_paper_stands_below_the_correlations(tmp_path):
    sixteen(tmp_path)
    (measured, quoted), (steps,) = pages.page("proxy_correlation", load(tmp_path, "recording")).tables
    assert quoted.rows == (("5", "0.90", "0.80"),)
    assert list(cells(measured)) == ["xs, lr as it is", "xs, lr × width", "p, lr as it is", "p, lr × width"]
    assert steps.rows[-1][:3] == ("l at fewer steps", "4", "16")
    assert cells(measured)["p, lr × width"]["points lost"] == "0.0 [0.0, 0.0]"
    assert cells(measured)["p, lr × width"]["cost %"] == "25.0"


def test_the_sensitivity_of_sixteen(tmp_path):
    sixteen(tmp_path)
    figures, report, printed = written(tmp_path, "sensitivity")
    assert figures == {"importance_last_digit", "one_at_a_time_last_digit"}
    assert "(random number)" in printed and "held-out R²" in printed
    for said in ("lr on xs", "From 16 configurations", "not training runs", "held-out R²: xs", "The surrogate has"):
        assert said in report


def test_smoke_scale_renders_and_concludes_nothing(tmp_path):
    smoke(tmp_path)
    figures, report, _ = written(tmp_path, "proxy_correlation")
    assert figures == {"scatter_last_digit", "over_steps_last_digit"}
    assert "4 configurations are too few for an interval, and for any conclusion." in report
    (measured, _), _ = pages.page("proxy_correlation", load(tmp_path, "recording")).tables
    as_it_is, mapped = cells(measured)["xs, lr as it is"], cells(measured)["xs, lr × width"]
    assert (as_it_is["Spearman"], as_it_is["Spearman of 5"], as_it_is["n"]) == ("–", "–", "4")  # a constant proxy
    assert (mapped["Spearman"], mapped["points lost"]) == ("1.00 [–]", "0.0 [–]")

    figures, report, printed = written(tmp_path, "sensitivity")
    assert figures == set()
    assert "4 configurations of last_digit are too few to fit a surrogate to (at least 12)." in report
    assert "nan" not in printed.lower()


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_a_recording_that_has_only_begun_renders(experiment, tmp_path):
    study = recording(tmp_path)
    _, report, _ = written(tmp_path, experiment)
    assert "unfinished: ./run_all.sh mini experiment=recording" in report
    study.run("p", 8, {4: 0.1, 8: 0.2})
    assert "unfinished" in written(tmp_path, experiment)[1]


def test_failed_runs_are_counted_and_drawn(tmp_path):
    study = recording(tmp_path)
    for i in range(8):
        target = 2 if i > 5 else flat(0.1 * i)
        curves = {("p", "none"): flat(0.1 * i), ("p", "width"): flat(0.05 * i), "l": target}
        record(study, {"lr": 1e-4 * 2**i, "kl_loss_coef": 0.01 * (i + 1)}, curves)
    written(tmp_path, "proxy_correlation")
    (measured, _), _ = pages.page("proxy_correlation", load(tmp_path, "recording")).tables
    assert [(row["n"], row["failed"]) for row in cells(measured).values()] == [("8", "2")] * 2
    _, report, _ = written(tmp_path, "sensitivity")
    assert "too few to fit a surrogate" in report


def test_several_problems_keep_apart(tmp_path):
    for problem in ("a", "b"):
        study = recording(tmp_path, problem=problem)
        for i in range(3):
            runs = {("p", "none"): flat(0.1 * i), ("p", "width"): flat(0.1 * i), "l": flat(0.2 * i)}
            record(study, {"lr": 1e-4 * (i + 1)}, runs)
    for experiment in EXPERIMENTS:
        shown = pages.page(experiment, load(tmp_path, "recording"))
        assert any("of a" in text for text in shown.lead) and any("of b" in text for text in shown.lead)
        written(tmp_path, experiment)
    assert (tmp_path / "sensitivity/tables/importance_b.csv").exists()


def test_a_cell_shows_what_is_known():
    assert bracketed(0.123, 0.1, 0.2) == "0.12 [0.10, 0.20]"
    assert bracketed(0.5, float("nan"), float("nan"), 1, 100) == "50.0 [–]"
    assert bracketed(float("nan"), 0.1, 0.2) == "–"
