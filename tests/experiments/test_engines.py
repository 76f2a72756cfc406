"""The same study on several engines: ranks, costs and gaps against numbers computed by hand."""

from __future__ import annotations

import io

import pandas as pd
import pytest
from rich.console import Console

from experiments.engines import analysis
from experiments.engines.sweep import ENGINES, OWN, SWEEPS
from experiments.gather import load
from jfhpo.core.trial import Cost, Status
from paper_figures.write import write_all
from tests.paper_figures.fake_results import FakeStudy

LRS = [1e-5 * 3**i for i in range(7)]


def study(out, engine: str, accuracies: list[float | None], seconds: float = 1.0, finish: bool = True) -> None:
    """Random search over `LRS`, four steps each at so many seconds; None: the run failed after its second step."""
    fake = FakeStudy(out, "random_search", 0, problem=engine, experiment="engines", proxy="p", target="p", max_steps=4)
    for lr, accuracy in zip(LRS, accuracies, strict=False):
        told = {"status": Status.FAILED, "reason": "out of memory", "steps_done": 2} if accuracy is None else {}
        fake.run("p", 4, {4: accuracy} if accuracy else {}, config={"lr": lr}, cost=Cost(seconds, 10, 1e6), **told)
    if finish:
        fake.finish(0.9, 0.8)


def test_nothing_but_the_engine_differs_between_the_studies():
    sweep, kept = SWEEPS["mini"], []
    for engine in ENGINES:
        own = {f"problem.trainer={engine}", f"problem.name={engine}", *OWN.get(engine, ())}
        kept.append({word for word in sweep.problem_words(engine) if word not in own})
    assert kept[0] == kept[1] == kept[2] and "problem=last_digit" in kept[0]
    assert not any("held_out" not in word for words in OWN.values() for word in words), "how much is validated, no more"


def test_agreement_is_spearmans_over_the_configurations_that_ran_on_both(tmp_path):
    study(tmp_path, "mini", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    study(tmp_path, "trl", [0.1, 0.3, 0.2, 0.4, 0.5, 0.7, 0.6])
    (row,) = analysis.agreement(load(tmp_path, "engines")).itertuples()
    assert (row.one, row.other, row.n) == ("mini", "trl", 7)
    assert row.spearman == pytest.approx(1 - 6 * 4 / (7 * 48)) and row.low < row.spearman < row.high
    assert not row.best_shared and row.difference == pytest.approx(0.4 / 7)


def test_a_failed_run_ranks_lowest_and_one_that_is_missing_is_left_out(tmp_path):
    study(tmp_path, "mini", [0.1, 0.2, 0.3, 0.4])
    study(tmp_path, "verl", [0.2, 0.3, None], finish=False)
    (row,) = analysis.agreement(load(tmp_path, "engines")).itertuples()
    assert row.n == 3 and row.spearman == pytest.approx(-0.5) and pd.isna(row.low), "too few for an interval"


def test_costs_are_per_step_and_beside_the_steps(tmp_path):
    study(tmp_path, "mini", [0.1, 0.2, 0.3])
    study(tmp_path, "trl", [0.1, None, 0.3], seconds=3.0)
    found = analysis.costs(load(tmp_path, "engines")).set_index("engine")
    assert list(found.index) == ["mini", "trl"]
    assert list(found["step"]) == [1.0, 3.0] and list(found["beside"]) == [0.0, 0.0]
    assert list(found["failed"]) == [0, 1] and list(found["trials"]) == [3, 3]


def test_the_page_says_how_well_they_agree_and_what_is_missing(tmp_path):
    study(tmp_path, "mini", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])
    study(tmp_path, "trl", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], seconds=2.0)
    study(tmp_path, "verl", [0.2], finish=False)
    console = Console(file=io.StringIO(), width=200)
    write_all(tmp_path, "engines", console)
    root = tmp_path / "engines"
    assert [p.name for p in root.glob("figures/*.png")] == ["curves.png"]
    report = (root / "report.html").read_text()
    assert "mini and trl rank 7 configurations with a Spearman correlation of 1.00" in report
    assert "mini and verl: too few configurations ran on both to rank them (1)" in report
    assert "./run_all.sh mini experiment=engines problem=verl method=random_search" in report
    assert "nan" not in console.file.getvalue().lower()
