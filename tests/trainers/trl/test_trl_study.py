"""A whole study with TRL as its trainer: the same records and summary as with the miniature one."""

from __future__ import annotations

import json

from experiments.gather import load
from experiments.run import main

WORDS = ("scale=smoke", "method=jfhpo", "method.initial=2", "tracking=none", "budget=6", "test_k=1")


def test_a_study_runs_on_trl_and_leaves_the_same_kind_of_records(tmp_path):
    out = tmp_path / "results"
    assert main([*WORDS, f"out={out}", "problem.trainer=trl"]) == 0
    records = load(out, "main")
    study, trials, steps = records.studies.iloc[0], records.trials, records.steps
    assert study["state"] == "finished" and study["trainer"] == "trl"
    assert 0 <= study["mean_at_k"] <= 1 and study["prompts"] == 512
    assert set(trials["model"]) <= {"xs", "p"} and len(trials) >= 2
    assert (steps["seconds"] > 0).all() and (steps["tokens"] > 0).all() and (steps["kl"] >= 0).all()
    summary = json.loads((out / "main/last_digit/jfhpo/seed=0/summary.json").read_text())
    assert summary["trials"]["failed"] == 0
