"""NOMAD from an earlier study's full runs: it goes on from the best of them, and trains none of them again."""

from __future__ import annotations

import dataclasses
import json

import pytest

pytest.importorskip("PyNomad")
from baselines.earlier import full_runs
from baselines.nomad import Nomad, NomadSettings
from jfhpo.core.errors import UsageError
from jfhpo.core.space import config_key
from jfhpo.core.trial import Status
from tests.baselines.formula import drive, problem, result
from tests.baselines.test_nomad import LORA, MIXED, MIXED_START, START, mixed, peak


def write(folder, told) -> None:
    """Records as a study leaves them: (trial, result) in the order of telling."""
    folder.mkdir(parents=True)
    with (folder / "records.jsonl").open("w") as file:
        for trial, done in told:
            phase = "final" if trial.id == 99 else "search"
            file.write(json.dumps({"event": "asked", "trial": trial.to_json(), "phase": phase}) + "\n")
            file.write(json.dumps({"event": "told", "phase": phase, "result": done.to_json()}) + "\n")
        file.write('{"event": "step", "tri')  # a killed study's last line


def earlier(folder, count=12, seed=0):
    """A first round of NOMAD, its study's folder written."""
    first = Nomad(mixed(), seed=seed)
    trials = drive(first, peak, count)
    write(folder, [(t, result(t, peak(t.config))) for t in trials])
    return trials


def test_it_goes_on_from_the_best_of_the_first_round_and_repeats_none_of_it(tmp_path):
    before = earlier(tmp_path / "first")
    best = max(before, key=lambda t: peak(t.config)).config
    second = Nomad(mixed(), seed=7, settings=NomadSettings(warm_start=str(tmp_path / "first")))
    trials = drive(second, peak, 20)
    known = {config_key(t.config) for t in before}
    assert len(trials) == 20 and not known & {config_key(t.config) for t in trials}
    cold = drive(Nomad(mixed(), seed=7), peak, 20)
    assert max(peak(t.config) for t in trials) > peak(best)  # it improves on where it began,
    off = [abs(t.config["kl"] - best["kl"]) for t in trials[:4]]
    assert max(off) < abs(cold[0].config["kl"] - best["kl"])  # and begins there, not at the recipe


def test_the_same_seed_and_study_propose_the_same(tmp_path):
    earlier(tmp_path / "first")
    settings = NomadSettings(warm_start=str(tmp_path / "first"))
    runs = [drive(Nomad(mixed(), seed=3, settings=settings), peak, 10) for _ in range(2)]
    assert runs[0] == runs[1]


def test_what_was_found_before_is_not_recommended(tmp_path):
    earlier(tmp_path / "first")
    second = Nomad(mixed(), seed=0, settings=NomadSettings(warm_start=str(tmp_path / "first")))
    assert second.recommend() == MIXED_START
    (trial,) = drive(second, peak, 1)
    assert second.recommend() == trial.config


def test_only_judged_full_runs_of_the_search_on_the_target_are_read(tmp_path):
    full = mixed().full
    template = drive(Nomad(mixed(), seed=0), peak, 1)[0]

    def run(number, score, status=Status.COMPLETED, fidelity=full, lr=1e-3):
        config = MIXED_START | {"lr": lr}
        trial = dataclasses.replace(template, id=number, config=config, fidelity=fidelity)
        return trial, result(trial, score, status)

    short = dataclasses.replace(full, steps=3)
    small = dataclasses.replace(full, model=mixed().proxy)
    runs = [
        run(0, 0.5), run(1, None, Status.FAILED), run(2, 0.9, fidelity=short), run(3, 0.8, fidelity=small),
        run(4, 0.7, Status.CUT), run(5, 0.6, Status.EARLY_STOPPED, lr=2e-3), run(99, 0.95),
    ]  # fmt: skip
    write(tmp_path / "rows" / "seed=4", runs)
    found = full_runs(str(tmp_path / "rows"), mixed(), seed=4)
    assert [(config["lr"], score) for config, score in found] == [(1e-3, 0.5), (2e-3, 0.6)]
    assert full_runs(str(tmp_path / "rows" / "seed=4"), mixed(), seed=0) == found


def test_a_study_that_is_not_there_or_does_not_fit_is_named(tmp_path):
    def refused(where, of=None):
        with pytest.raises(UsageError) as error:
            Nomad(of or mixed(), seed=0, settings=NomadSettings(warm_start=str(where)))
        return str(error.value)

    assert "none holds no study with seed 0; run that one first" in refused(tmp_path / "none")
    write(tmp_path / "empty", [])
    assert "no finished run on" in refused(tmp_path / "empty")
    earlier(tmp_path / "first", count=2)
    assert "first is of another search space: " in refused(tmp_path / "first", problem(LORA, START))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "records.jsonl").write_text("{no\n")
    assert "line 1 is damaged" in refused(tmp_path / "bad")
    assert set(MIXED) != set(LORA)
