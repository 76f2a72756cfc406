"""A recording read as a table: runs of one configuration found again, failures counted, nothing left out unsaid."""

from __future__ import annotations

import math
from pathlib import Path

from baselines.recording import Recording, RecordingSettings
from experiments.gather import load
from experiments.recording import design
from tests.method.synthetic import problem as real_problem
from tests.paper_figures.fake_recording import RATIO, flat, record, recording

BOTH = {("p", "none"): flat(0.3), ("p", "width"): flat(0.4), "l": flat(0.5)}


def read(out: Path):
    return load(out, "recording")


def table(out: Path):
    return design.accuracies(read(out), "last_digit")


def named(frame, configuration: int, model: str, transfer: str = "none"):
    chosen = (frame["configuration"] == configuration) & (frame["model"] == model) & (frame["transfer"] == transfer)
    (row,) = [r for _, r in frame[chosen].iterrows()]
    return row


def test_runs_of_one_configuration_are_found_again(tmp_path):
    study = recording(tmp_path)
    record(study, {"lr": 1e-4, "kl_loss_coef": 0.1}, BOTH)
    record(study, {"lr": 1e-3, "kl_loss_coef": 0.2}, BOTH)
    found = design.runs(read(tmp_path))
    assert found[["configuration", "model", "transfer", "on_target"]].values.tolist() == [
        [number, *run]
        for number in (0, 1)
        for run in (["p", "none", False], ["p", "width", False], ["l", "none", True])
    ]
    assert [c["lr"] for c in found["target_config"]] == [1e-4] * 3 + [1e-3] * 3


def test_configurations_that_differ_in_nothing_but_the_learning_rate_stay_apart(tmp_path):
    study = recording(tmp_path)
    record(study, {"lr": 1e-4, "kl_loss_coef": 0.1}, BOTH)
    record(study, {"lr": 2e-4, "kl_loss_coef": 0.1}, BOTH)  # as it is: the lr that the first was mapped to
    found = design.runs(read(tmp_path))
    assert found["configuration"].tolist() == [0, 0, 0, 1, 1, 1]
    assert found["transfer"].tolist() == ["none", "width", "none"] * 2


def test_on_a_proxy_as_wide_as_the_target_the_mapped_run_is_the_second(tmp_path, monkeypatch):
    monkeypatch.setitem(RATIO, "p", 1.0)
    record(recording(tmp_path), {"lr": 1e-4, "kl_loss_coef": 0.1}, BOTH)
    frame = table(tmp_path)
    assert (named(frame, 0, "p")[8], named(frame, 0, "p", "width")[8]) == (0.3, 0.4)


def test_studies_do_not_mix(tmp_path):
    for seed, accuracy in ((0, 0.1), (1, 0.2)):
        record(recording(tmp_path, seed), {"lr": 1e-4}, BOTH | {"l": flat(accuracy)})
    targets = table(tmp_path).query("on_target")
    assert targets[["seed", "configuration", 8]].values.tolist() == [[0, 0, 0.1], [1, 0, 0.2]]


def test_a_failed_run_counts_as_zero_from_its_failure_on_and_at_full_steps(tmp_path):
    study = recording(tmp_path)
    record(study, {"lr": 1e-4}, BOTH | {("p", "none"): 4, "l": 8})
    record(study, {"lr": 1e-3}, BOTH | {("p", "none"): 2})
    frame = table(tmp_path)
    late, early, target = named(frame, 0, "p"), named(frame, 1, "p"), named(frame, 0, "l")
    assert (late[4], late[8]) == (0.9, 0.0)  # at step 4 nobody knew yet
    assert (early[4], early[8]) == (0.0, 0.0)
    assert target[8] == 0.0  # it was validated at its last step, and failed


def test_a_run_under_way_has_no_accuracy_yet_and_one_without_a_target_run_is_counted(tmp_path):
    study = recording(tmp_path)
    record(study, {"lr": 1e-4, "kl_loss_coef": 0.1}, BOTH)
    record(study, {"lr": 1e-3, "kl_loss_coef": 0.2}, {("p", "none"): flat(0.3)})
    trial = study.ask("p", 8, config={"lr": 2e-3, "kl_loss_coef": 0.2})
    study.start(trial)
    assert len(table(tmp_path)) == 3
    assert design.designed(read(tmp_path), "last_digit") == 2
    record(study, {"lr": 1e-3, "kl_loss_coef": 0.2}, {"l": flat(0.6)})
    assert math.isnan(named(table(tmp_path), 1, "p", "width")[8])


def test_what_the_recording_really_asks_is_understood(tmp_path):
    """The order of trials is the recording's own, so that a change of it shows here."""
    problem = real_problem()
    method = Recording(problem, seed=0, settings=RecordingSettings(configs=3))
    study = recording(
        tmp_path, proxy=problem.proxy, target=problem.target, rungs=list(problem.rungs), max_steps=problem.max_steps
    )
    for _ in range(method.planned):
        asked = method.ask()
        study.run(asked.fidelity.model, asked.fidelity.steps, {problem.max_steps: 0.5}, config=dict(asked.config))
    found = design.runs(read(tmp_path))
    assert found["configuration"].nunique() == 3
    assert list(found[found["on_target"]]["target_config"]) == [dict(c) for c in method.design]
    for proxy in set(problem.models) - {problem.target}:
        assert found[found["model"] == proxy]["transfer"].tolist() == ["none", "width"] * 3
