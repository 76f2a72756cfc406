"""Every experiment, tiny and real, as ``./run_all.sh smoke``: base models, GRPO, records, tables, figures, report."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.sweeps import experiments, studies_of, sweeps
from jfhpo import cli

BUDGET = 2.0
"""Seconds per study: the smoke scale's own are for people, who like to see more than one trial."""


@pytest.fixture(scope="module")
def out(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("smoke")


def reproduce(experiment: str, out: Path) -> int:
    words = ["smoke", f"experiment={experiment}", f"out={out}", "tracking=none"]
    return cli.main(["reproduce", *words, *([] if studies_of(experiment) == "recording" else [f"budget={BUDGET}"])])


@pytest.mark.parametrize(
    "experiment", sorted(experiments(), key=lambda name: (studies_of(name), name != studies_of(name)))
)
def test_an_experiment_runs_and_writes_its_tables_and_report(experiment, out, capfd):
    owner = studies_of(experiment)
    if owner != experiment and not (out / owner).exists():
        assert reproduce(owner, out) == 0
        capfd.readouterr()
    assert reproduce(experiment, out) == 0
    printed = capfd.readouterr().out
    root = out / experiment
    assert (root / "report.html").stat().st_size > 2000
    assert f"report: {root / 'report.html'}" in printed
    tables = sorted(path.stem for path in (root / "tables").glob("*.csv"))
    assert tables
    sweep = sweeps(experiment)["smoke"]
    finished = list((out / owner).glob("*/*/seed=*/summary.json"))
    assert {path.parts[-3] for path in finished} == set(sweep.methods)
    if owner != experiment:
        assert "studies are there already" in printed, "nothing is trained twice"
