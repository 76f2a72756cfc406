"""The page of the scaling laws: of curves that follow one, of curves too short to fit, and of half a recording."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from experiments.gather import load
from experiments.scaling_law import analysis, gp_mean
from paper_figures import pages
from paper_figures.pages import scaling_law
from paper_figures.write import write_all
from tests.paper_figures.fake_curves import recorded_by_law
from tests.paper_figures.fake_recording import recording, smoke


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(gp_mean, "SPLITS", 2)
    monkeypatch.setattr(analysis, "RESAMPLES", 100)


def written(out) -> tuple[set[str], str, str]:
    """Names of the figures, the report, and what was printed."""
    console = Console(file=io.StringIO(), width=240)
    write_all(out, "scaling_law", console)
    root = out / "scaling_law"
    return {p.stem for p in root.glob("figures/*.png")}, (root / "report.html").read_text(), console.file.getvalue()


def test_curves_of_a_law_are_told_with_their_numbers(tmp_path):
    recorded_by_law(tmp_path)
    figures, report, printed = written(tmp_path)
    assert figures == {"overview", "examples"}
    assert "nan" not in printed.lower() and "nan" not in report.split("<h2>Figures</h2>")[0].lower()
    for said in (
        "From 40 % of 60 full runs the final reward is foretold best by offset_saturation",
        "beyond both intervals",
        "The preset scaling_law saves",
        "From xs, p to l on last_digit: the best law over sizes (version 2 from R₀, each configuration)",
        "In the surrogate of jfhpo, log-likelihood",
        "one training seed per configuration",
    ):
        assert said in report, said
    tables = {p.stem for p in (tmp_path / "scaling_law/tables").glob("*.csv")}
    assert tables == {"forecasts", "stopping", "fits", "sizes", "surrogate"}
    stopping = pd.read_csv(tmp_path / "scaling_law/tables/stopping.csv")
    assert set(stopping["chosen"]) == {"all", "held out"}


def test_curves_that_are_too_short_are_said_to_be(tmp_path):
    smoke(tmp_path)
    figures, report, printed = written(tmp_path)
    assert figures == set() and "nan" not in printed.lower()
    assert "the longest of 8 steps: none has 8 steps and 5 more to be foretold, so nothing is fitted" in report


def test_a_recording_that_has_only_begun_renders(tmp_path):
    recording(tmp_path)
    assert "0 full runs are recorded" in written(tmp_path)[1]
    assert pages.page("scaling_law", load(tmp_path, "recording")).drawings == ()


@pytest.mark.parametrize(
    ("inside", "low", "said"),
    [(0.62, 0.05, ["62 % of the final rewards: too sure of themselves", "beyond both intervals"]),
     (0.81, 0.01, ["81 % of the final rewards: as they should", "their intervals overlap"])],
)  # fmt: skip
def test_the_sentence_says_whether_a_law_is_worth_it(inside, low, said):
    row = {"problem": "t", "seen": analysis.HEADLINE, "curves": 9, "mean": 0.0, "bias": 0.0, "width": 0.1}
    rows = [
        row | {"law": "hill", "median": 0.02, "low": 0.01, "high": 0.03, "inside": inside},
        row | {"law": "last 5 steps", "median": 0.06, "low": low, "high": 0.08, "inside": float("nan")},
    ]
    text = " ".join(scaling_law.forecast_sentences(pd.DataFrame(rows), "t", [None] * 9))
    assert all(part in text for part in said), text
    assert "foretold best by hill, with a median error of 2.0 [1.0, 3.0] points" in text


def test_a_gain_in_the_surrogate_is_called_one_only_beyond_its_interval():
    rows = [{"variant": "plain", "case": "new", "difference": float("nan"), "low": float("nan"), "high": float("nan")}]
    mean = {"variant": "mean", "case": "new", "difference": 0.2}
    unsure, sure = (
        scaling_law.mean_sentences(pd.DataFrame([*rows, mean | {"low": low, "high": 0.4}]))[0] for low in (-0.1, 0.1)
    )
    assert "none is better, so none is used" in unsure and "at least one is better" in sure
