"""The page of the kernels: at full scale, at smoke scale, half done, and what its sentences say of given numbers."""

from __future__ import annotations

import io
import math

import pandas as pd
import pytest
from rich.console import Console

from experiments.fidelity_kernel import analysis
from experiments.fidelity_kernel.splits import NEW, SEEN
from experiments.gather import load
from paper_figures import pages
from paper_figures.pages import fidelity_kernel
from paper_figures.write import write_all
from tests.paper_figures.fake_recording import recording, sixteen, smoke


@pytest.fixture(autouse=True)
def few_splits(monkeypatch):
    monkeypatch.setattr(analysis, "SPLITS", 2)


def written(out) -> tuple[set[str], str, str]:
    """Names of the figures, the report, and what was printed."""
    console = Console(file=io.StringIO(), width=240)
    write_all(out, "fidelity_kernel", console)
    root = out / "fidelity_kernel"
    return {p.stem for p in root.glob("figures/*.png")}, (root / "report.html").read_text(), console.file.getvalue()


def test_sixteen_configurations_are_compared(tmp_path):
    sixteen(tmp_path)
    figures, report, printed = written(tmp_path)
    assert figures == {"difference_last_digit", "calibration_last_digit"}
    assert "linear_truncated" in printed and "nan" not in printed.lower()
    for said in ("16 configurations of last_digit, 2 random splits", "jfhpo uses matern", "drawn at random"):
        assert said in report
    numbers = pd.read_csv(tmp_path / "fidelity_kernel/tables/kernels.csv")
    assert len(numbers) == 8 and list(numbers["case"]) == [SEEN] * 4 + [NEW] * 4


def test_smoke_scale_renders_and_prefers_nothing(tmp_path):
    smoke(tmp_path)
    figures, report, printed = written(tmp_path)
    assert figures == set()
    assert "4 configurations of last_digit are too few" in report and "no kernel is preferred" in report
    ((table,),) = pages.page("fidelity_kernel", load(tmp_path, "recording")).tables
    assert table.rows[0] == ("matern", SEEN, "0", *["–"] * 9)
    assert "nan" not in printed.lower()


def test_a_recording_that_has_only_begun_renders(tmp_path):
    study = recording(tmp_path)
    assert "0 configurations of last_digit are too few" in written(tmp_path)[1]
    study.run("p", 8, {4: 0.1, 8: 0.2})
    assert "unfinished: ./run_all.sh mini experiment=recording" in written(tmp_path)[1]


# ---- words


def numbers(differences: dict[str, dict[str, tuple[float, float, float]]], within_90: float = 0.9) -> pd.DataFrame:
    """A comparison with these differences to matern (value, low, high) per case; matern's own likelihood is 1."""
    rows = []
    for case, kernels in differences.items():
        for kernel, (value, low, high) in {"matern": (0.0, math.nan, math.nan), **kernels}.items():
            row = dict.fromkeys(analysis.COLUMNS, 0.5) | {"problem": "a", "kernel": kernel, "case": case}
            row |= {"configurations": 30, "splits": 9, "log_likelihood": 1 + value, "within_90": within_90}
            rows.append(row | {"difference": value, "difference_low": low, "difference_high": high})
    return pd.DataFrame(rows)


def test_a_kernel_that_wins_both_cases_is_said_to():
    frame = numbers({SEEN: {"decay": (0.3, 0.1, 0.5)}, NEW: {"decay": (0.2, 0.1, 0.4)}})
    said = " ".join(fidelity_kernel.sentences("a", "l", frame))
    assert "that of decay, 1.30" in said and "beyond its interval decay is better" in said
    assert "Better than matern, which jfhpo uses, beyond the interval in both cases: decay." in said


def test_a_win_in_one_case_changes_nothing():
    frame = numbers({SEEN: {"decay": (-0.3, -0.5, -0.1)}, NEW: {"decay": (0.2, 0.1, 0.4)}})
    said = " ".join(fidelity_kernel.sentences("a", "l", frame))
    assert "decay is worse" in said and "decay is better" in said
    assert "No kernel is better beyond the interval in both cases" in said


def test_intervals_that_hold_zero_tell_nothing_apart():
    frame = numbers({case: {"decay": (0.3, -0.1, 0.5)} for case in (SEEN, NEW)})
    said = " ".join(fidelity_kernel.sentences("a", "l", frame))
    assert said.count("no interval tells a kernel from matern") == 2


def test_too_narrow_intervals_are_said_to_be():
    cases = {SEEN: {}, NEW: {}}
    assert "too sure of itself" in " ".join(fidelity_kernel.sentences("a", "l", numbers(cases, within_90=0.7)))
    assert "too sure of itself" not in " ".join(fidelity_kernel.sentences("a", "l", numbers(cases, within_90=0.9)))
