"""Saving and resuming: as if the trial had never stopped, and a checkpoint is whole or it is none."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from jfhpo.core.trainer import CheckpointError
from jfhpo.study.checkpoints import CheckpointRegistry
from tests.trainers.conformance.elsewhere import KEY
from tests.trainers.conformance.parts import (
    RUNG,
    assert_same,
    check,
    keeps_no_files,
    looked_at,
    make,
    reference,
    spec,
    told,
    trial,
    without,
)

FILES_OF_SIZE = 16
"""Bytes that a file must have to be cut in two."""


@check("resumes")
def test_a_trial_resumed_at_a_rung_by_a_new_trainer_goes_on_as_if_it_had_never_stopped(name, checkpoint):
    later = make(name)
    rest = told(name, later.start(trial(name), checkpoint))
    assert_same(name, rest, reference(name).steps[RUNG:])
    assert_same(name, looked_at(name, later), reference(name).evaluations)


@check("resumes")
def test_so_it_does_in_another_process(name, elsewhere):
    assert_same(name, elsewhere["resumed"].steps, reference(name).steps[RUNG:])
    assert_same(name, elsewhere["resumed"].evaluations, reference(name).evaluations)


@check("resumes")
def test_saving_changes_nothing(name, trainer, tmp_path):
    found = []
    for record in trainer.start(trial(name)):
        # A simulated study keeps nothing but the step, which is what the path is called.
        path = Path(str(record.step)) if spec(name).simulated else tmp_path / f"at-{record.step}"
        trainer.save(path)
        found.append(record)
    assert_same(name, told(name, found), reference(name).steps)
    at_the_end = make(name)
    assert list(at_the_end.start(trial(name), path)) == []
    assert_same(name, looked_at(name, at_the_end), reference(name).evaluations, "of the last step's checkpoint")


@check("whole or absent")
@pytest.mark.parametrize("change", [{"seed": 6}, {"config": True}], ids=["seed", "configuration"])
def test_a_checkpoint_of_another_trial_is_refused(name, trainer, checkpoint, change, record_property):
    if keeps_no_files(name, record_property):
        return
    other = {"lr": 1e-4} if "config" in change else change
    with pytest.raises(CheckpointError):
        trainer.start(trial(name, **other), checkpoint)


@check("whole or absent")
def test_a_checkpoint_that_is_gone_or_was_cut_off_is_refused(name, trainer, checkpoint, tmp_path, record_property):
    if keeps_no_files(name, record_property):
        return
    with pytest.raises(CheckpointError):
        trainer.start(trial(name), tmp_path / "gone")
    files = [checkpoint] if checkpoint.is_file() else sorted(p for p in checkpoint.rglob("*") if p.is_file())
    for number, file in enumerate(files):
        if file.stat().st_size < FILES_OF_SIZE:
            continue
        half = tmp_path / f"half-{number}"
        (shutil.copytree if checkpoint.is_dir() else shutil.copy)(checkpoint, half)
        os.truncate(half / file.relative_to(checkpoint), file.stat().st_size // 2)
        with pytest.raises(CheckpointError):
            trainer.start(trial(name), half)


@check("whole or absent")
def test_a_trainer_killed_while_it_saves_leaves_a_checkpoint_or_none(name, killed, record_property):
    """Killed by SIGKILL at several places of one `save` each, in a process of its own: what it left is refused, or is
    the step's whole; the study's registry never shows a half, and sweeps up what is left."""
    if keeps_no_files(name, record_property):
        return
    trainer = make(name)
    expected = reference(name).steps[1:2]

    def goes_on(path: Path) -> None:
        rest = told(name, trainer.start(trial(name, 2), path))
        assert_same(name, without(rest, "val_accuracy", "cost"), without(expected, "val_accuracy", "cost"))

    assert killed, "save writes nothing that could be watched"
    for where, home in killed.items():
        registry = CheckpointRegistry(home)
        for left in home.glob("*/*.tmp"):
            with contextlib.suppress(CheckpointError):
                goes_on(left)
        found = registry.longest_prefix(KEY, 1)
        if found is not None:
            goes_on(found.path)
        registry.gc()
        assert list(home.glob("*/*.tmp")) == [], where
        registry.close()
