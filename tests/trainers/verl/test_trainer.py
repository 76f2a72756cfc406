"""The trainer as a study drives it, over a stand-in for verl (`fake_verl.py`): steps, checkpoints, the end, and what
becomes of a run that crashes, falls silent, ends too early or is killed."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import CheckpointError, TrainingFailed
from jfhpo.core.trial import Fidelity, Trial
from jfhpo.trainers.verl import guard
from jfhpo.trainers.verl.trainer import VerlTrainer
from tests.trainers.verl.test_guard import gone

FAKE = (sys.executable, str(Path(__file__).parent / "fake_verl.py"))
CONFIG = {"lr": 1e-3, "lr_scheduler": "cosine", "kl_loss_coef": 0.01, "rollout_n": 4}


@pytest.fixture
def trainer(hf_folder, tmp_path):
    settings = {"device": "cpu", "timeout": 20.0, "logs": str(tmp_path / "logs")}
    made = VerlTrainer("last_digit", {"xs": str(hf_folder)}, 10, settings, main=FAKE)
    yield made
    made.close()


def trial(steps, **changes):
    return Trial(**{"id": 0, "config": CONFIG, "fidelity": Fidelity("xs", steps), "seed": 3, **changes})


def test_steps_come_one_by_one_from_the_file_logger(trainer):
    records = []
    for record in trainer.start(trial(3, validate_at=(1,))):
        records.append(record)
        assert trainer.segment.step == record.step  # the child has not run ahead
    assert [r.step for r in records] == [1, 2, 3]
    assert [r.reward_mean for r in records] == [0.01, 0.02, 0.03]
    assert [r.val_accuracy for r in records] == [0.5, None, 0.5]
    assert records[0].entropy == pytest.approx(5.674528) and records[0].completion_length == 15.515625
    assert records[0].cost.tokens == round(15.515625 * 64) + 8  # and those of the validation
    assert all(r.cost.seconds >= 0 and r.cost.flops > 0 for r in records)


def test_the_rate_is_that_of_the_step_where_verl_logs_the_next_ones(trainer):
    assert [r.learning_rate for r in trainer.start(trial(3))] == pytest.approx([1e-3, 0.9e-3, 0.8e-3])


def test_it_is_stopped_saved_and_resumed_to_a_higher_fidelity(trainer, tmp_path):
    steps = trainer.start(trial(4))
    first = [next(steps), next(steps)]
    trainer.save(tmp_path / "at-2")
    assert sorted(p.name for p in (tmp_path / "at-2").iterdir()) == ["global_step_2", "jfhpo.json"]
    segment = trainer.segment.name
    trainer.start(trial(4, config=CONFIG | {"lr": 2e-3}))  # another trial: the run is left where it is
    assert trainer.segment.name != segment
    later = list(trainer.start(trial(4), tmp_path / "at-2"))
    assert [r.step for r in first + later] == [1, 2, 3, 4]
    assert later[0].learning_rate == pytest.approx(0.8e-3)  # not that of the start
    assert (tmp_path / "at-2" / "global_step_2" / "data.pt").exists()  # the study's own: resumed, not consumed


def test_its_log_lies_where_it_is_kept_from_the_start(trainer, tmp_path):
    """A study ends its workers by a signal: what is copied afterwards would be lost."""
    next(trainer.start(trial(2)))
    (log,) = (tmp_path / "logs").iterdir()
    opened = {os.readlink(path) for path in Path(f"/proc/{trainer.segment.process.pid}/fd").iterdir()}
    assert str(log) in opened


def test_its_temporary_files_are_its_own_and_their_names_leave_room_for_a_socket(trainer):
    """A socket's path may have 107 bytes; vLLM's are uuids in TMPDIR."""
    next(trainer.start(trial(2)))
    environment = Path(f"/proc/{trainer.segment.process.pid}/environ").read_text().split("\0")
    (folder,) = (word.removeprefix("TMPDIR=") for word in environment if word.startswith("TMPDIR="))
    assert folder == str(trainer.segment.folder / "tmp") and Path(folder).is_dir() and len(folder) + 1 + 36 < 107


def test_a_run_that_stands_at_its_own_checkpoint_goes_on(trainer, tmp_path):
    steps = trainer.start(trial(2))
    list(steps)
    trainer.save(tmp_path / "at-2")
    process = trainer.segment.process.pid
    later = list(trainer.start(trial(3, id=7), tmp_path / "at-2"))
    assert [r.step for r in later] == [3] and trainer.segment.process.pid == process
    again = list(trainer.start(trial(3), tmp_path / "at-2"))  # it has moved on from there
    assert [r.step for r in again] == [3] and trainer.segment.process.pid != process


def test_evaluations_count_prompts_and_draws(trainer):
    trainer.start(trial(2))
    found = trainer.evaluate("test", 4)
    assert (found.split, found.prompts, found.k, found.greedy, found.mean_at_k) == ("test", 8, 4, 0.5, 0.5)
    assert found.standard_error == pytest.approx((8 * 0.25 / 7 / 8) ** 0.5) and found.cost.tokens == 40


@pytest.mark.parametrize(
    "fault, said",
    [
        ("crash@2", "out of GPU memory: CUDA out of memory. Tried to allocate 2.00 GiB, while step 2 was waited for"),
        ("quit@2", "verl ended by itself (exit code 0), while step 2 was waited for"),
        ("hang@2", "verl was silent for 1 s while step 2 was waited for, and was ended; its log names no reason"),
    ],
)
def test_a_run_that_fails_is_a_failed_trial_with_one_reason(trainer, monkeypatch, fault, said):
    monkeypatch.setenv("FAKE_VERL", fault)
    steps = trainer.start(trial(4))
    assert next(steps).step == 1
    if fault.startswith("hang"):
        trainer.segment.timeout = 1
    family = [trainer.segment.process.pid, *guard.descendants(trainer.segment.process.pid)]
    with pytest.raises(TrainingFailed) as error:
        next(steps)
    assert said in str(error.value)
    assert all(map(gone, family))
    assert trainer.overhead().seconds > 0  # the start, and what the failed step took
    monkeypatch.delenv("FAKE_VERL")
    assert [r.step for r in trainer.start(trial(1))] == [1]  # and the next trial runs


def test_a_run_that_never_comes_to_its_gate(trainer, monkeypatch):
    monkeypatch.setenv("FAKE_VERL", "deaf@0")
    monkeypatch.setattr("jfhpo.trainers.verl.settings.VerlSettings.timeout", 1.0)
    object.__setattr__(trainer.settings, "timeout", 1.0)
    with pytest.raises(TrainingFailed, match="verl was silent for 1 s while its start was waited for"):
        trainer.start(trial(2))


def test_a_killed_run_fails_and_its_last_checkpoint_is_gone_on_from(trainer, tmp_path):
    steps = trainer.start(trial(5))
    next(steps)
    trainer.save(tmp_path / "at-1")
    next(steps)
    os.kill(guard.descendants(trainer.segment.process.pid)[0], signal.SIGKILL)
    with pytest.raises(TrainingFailed, match=r"ended by signal 9.*while step 3 was waited for"):
        next(steps)
    assert [r.step for r in trainer.start(trial(5), tmp_path / "at-1")] == [2, 3, 4, 5]


def test_nothing_is_left_of_a_trial(trainer, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_VERL", "orphan@1")
    monkeypatch.setenv("ORPHAN", str(tmp_path / "pid"))
    steps = trainer.start(trial(2))
    next(steps)
    orphan, folder = int((tmp_path / "pid").read_text()), trainer.folder
    assert not gone(orphan, within=0.1) and folder.exists()
    trainer.close()
    assert gone(orphan, within=0.1) and not folder.exists()
    assert len(list((tmp_path / "logs").iterdir())) == 1


def test_a_checkpoint_that_is_not_whole_or_not_its_own_is_refused(trainer, tmp_path):
    steps = trainer.start(trial(2))
    next(steps)
    trainer.save(tmp_path / "at-1")
    with pytest.raises(CheckpointError, match="seed=3, this trial 4"):
        trainer.start(trial(2, seed=4), tmp_path / "at-1")
    next(steps)
    shutil.rmtree(tmp_path / "at-1" / "global_step_1" / "actor")
    with pytest.raises(CheckpointError, match=r"is not what was written: global_step_1/actor/\S+ has 0 of 5 bytes"):
        trainer.start(trial(2), tmp_path / "at-1")
    with pytest.raises(CheckpointError, match="cannot be read"):
        trainer.start(trial(2), tmp_path / "nowhere")


def test_a_prompt_that_is_too_long_is_named(hf_folder):
    made = VerlTrainer("last_digit", {"xs": str(hf_folder)}, 5, {"device": "cpu", "max_prompt_length": 4}, main=FAKE)
    try:
        with pytest.raises(UsageError, match=r"split train of last_digit, row 1: the prompt has 10 tokens, more than"):
            made.start(trial(2))
    finally:
        made.close()
