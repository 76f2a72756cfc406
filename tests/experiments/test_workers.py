"""Workers on the simulated clock: speedup by hand, and a page that says who gains and who loses."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.config import load as configured
from experiments.gather import load as gather
from experiments.run import run_study
from experiments.sweeps import sweeps
from experiments.workers.analysis import scaling
from paper_figures.pages import page
from tests.replay.recorded import NAME, data_set


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    made: Path = tmp_path_factory.mktemp("workers")
    data_set(made, 16)
    sweep = sweeps("workers")["smoke"]
    for label in sweep.methods:
        for seed in (0, 1):
            folder = f"+problem.trainer_settings.folder={made / 'data'}"
            own = [f"problem={NAME}", "problem.trainer=replay", folder, f"out={made}", "budget=480", "tracking=none"]
            run_study(configured([*own, "experiment=workers", *sweep.words(label), f"seed={seed}"]), None)
    return gather(made, "workers")


def test_more_workers_end_sooner_and_are_at_most_always_busy(records):
    found = scaling(records).set_index(["method", "workers"])
    assert list(found.index) == [("random_search", 1), ("random_search", 4), ("asha", 1), ("asha", 4)]
    elapsed = records.studies.set_index(["method", "seed"])["elapsed"]
    by_hand = (elapsed["asha_w1", 0] + elapsed["asha_w1", 1]) / (elapsed["asha_w4", 0] + elapsed["asha_w4", 1])
    assert found.loc[("asha", 4), "speedup"] == pytest.approx(by_hand) and by_hand > 1.3
    assert (found["busy"] <= 1 + 1e-9).all()
    assert found.loc[("random_search", 1), "busy"] == pytest.approx(1.0, abs=1e-3), "one worker never waits"
    assert (found["seeds"] == 2).all()


def test_the_page_says_who_gains_most(records):
    made = page("workers", records)
    found = scaling(records).set_index(["method", "workers"])["speedup"]
    first = max(("random_search", "asha"), key=lambda method: found[method, 4])
    assert f"4 workers: {first} ends {found[first, 4]:.1f} times sooner" in made.lead[0]
    (table,) = made.tables[0]
    assert [row[:2] for row in table.rows][:2] == [("random_search", "1"), ("random_search", "4")]
    assert table.rows[0][4] == "1.0" and [d.name for d in made.drawings] == [f"workers_{NAME}"]
