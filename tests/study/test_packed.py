"""A study whose workers are slots of one packed trainer ends as it does with worker processes, one trial at a time."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import CheckpointError, Evaluation, PackedTrainer, TrainingFailed
from jfhpo.core.trial import Cost, Fidelity, StepRecord, Trial
from jfhpo.study.executors.choice import executor, executor_name
from jfhpo.study.executors.packed import PackedExecutor
from jfhpo.study.executors.protocol import TrainerSpec, UnusableCheckpoint
from jfhpo.study.report_checks import TrialFailed

FAKE = "tests.study.test_packed:FakePack"
SPEC = TrainerSpec("fake", "tests.study.test_packed:None", {}, "v1", packed=FAKE)


class FakePack(PackedTrainer):
    """Says in every record how many trials advanced together, as ``reward_mean``; a configuration says what breaks."""

    def __init__(self, device: str):
        self.device, self.trials, self.steps = device, {}, {}

    def start(self, slot: int, trial: Trial, checkpoint: Path | None = None) -> None:
        if checkpoint is not None:
            raise CheckpointError(f"{checkpoint} is none")
        self.trials[slot], self.steps[slot] = trial, 0

    def advance(self, slots):
        found = {}
        for slot in slots:
            breaks = self.trials[slot].config.get("breaks")
            if breaks == "process":
                os.kill(os.getpid(), signal.SIGKILL)
            if breaks == "step":
                raise ValueError("no step today")
            self.steps[slot] += 1
            found[slot] = self._record(slot, len(slots)) if breaks != "trial" else TrainingFailed("loss is nan")
        return found

    def _record(self, slot: int, together: int) -> StepRecord | None:
        if self.steps[slot] > self.trials[slot].fidelity.steps:
            return None
        return StepRecord(self.steps[slot], float(together), 0, 0, 0, 0, 0, 0, 0, Cost(1.0, 1, 1.0))

    def save(self, slot: int, path: Path) -> None:
        path.write_text(f"{slot} at {self.steps[slot]}")

    def evaluate(self, slots, split, k, seed=0, greedy=True):
        return {slot: Evaluation(split, len(slots), 0.0, seed, 0.0, k, Cost()) for slot in slots}

    def overhead(self, slot: int) -> Cost:
        return Cost(seconds=0.25)


def trial(number: int, **config) -> Trial:
    return Trial(number, config, Fidelity("xs", 3), seed=number)


@pytest.fixture
def three():
    """An executor and its three slots."""
    runs = PackedExecutor(SPEC, "cpu", timeout=60.0)
    slots = [runs.worker() for _ in range(3)]
    yield runs, slots
    for slot in slots:
        slot.close()
    assert runs.process is None


def started(runs: PackedExecutor, slots, *configs) -> None:
    for number, (slot, config) in enumerate(zip(slots, configs, strict=True)):
        slot.send("start", trial(number, **config), None)
    assert runs.ready(slots) == slots
    for slot in slots:
        assert slot.receive().value is None


def test_what_was_asked_before_somebody_waits_is_done_at_once(three):
    runs, slots = three
    started(runs, slots, {}, {}, {})
    for slot in slots:
        slot.send("next")
    assert runs.ready(slots) == slots
    replies = [slot.receive() for slot in slots]
    assert [r.value.reward_mean for r in replies] == [3.0, 3.0, 3.0]
    assert [r.overhead for r in replies] == [Cost(seconds=0.25)] * 3


def test_a_slot_that_does_not_ask_holds_nobody_up(three):
    runs, slots = three
    started(runs, slots, {}, {}, {})
    slots[0].send("next")
    slots[2].send("next")
    runs.ready([slots[0], slots[2]])
    assert [slots[i].receive().value.reward_mean for i in (0, 2)] == [2.0, 2.0]


def test_a_slot_saves_by_itself_while_others_wait_for_their_step(three, tmp_path):
    runs, slots = three
    started(runs, slots, {}, {}, {})
    for slot in slots[1:]:
        slot.send("next")
    slots[0].call("save", tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").read_text() == "0 at 0"
    slots[0].send("next")
    runs.ready(slots)
    assert [slot.receive().value.reward_mean for slot in slots] == [3.0] * 3


def test_equal_evaluations_go_together_and_steps_beside_them(three):
    runs, slots = three
    started(runs, slots, {}, {}, {})
    slots[0].send("evaluate", "validation", 1, 0, False)
    slots[1].send("evaluate", "validation", 1, 0, False)
    slots[2].send("next")
    runs.ready(slots)
    assert [slots[0].receive().value.prompts, slots[1].receive().value.prompts] == [2, 2]
    assert slots[2].receive().value.reward_mean == 1.0


def test_the_fidelity_is_the_end_of_a_trial(three):
    _, slots = three
    slots[0].call("start", trial(0), None)
    assert [getattr(slots[0].call("next").value, "step", None) for _ in range(4)] == [1, 2, 3, None]


def test_a_trial_fails_alone(three):
    runs, slots = three
    started(runs, slots, {}, {"breaks": "trial"}, {})
    for slot in slots:
        slot.send("next")
    runs.ready(slots)
    assert slots[0].receive().value.step == 1 and slots[2].receive().value.step == 1
    with pytest.raises(TrialFailed, match="loss is nan") as failure:
        slots[1].receive()
    assert failure.value.overhead == Cost(seconds=0.25)


def test_a_step_that_cannot_be_taken_at_all_fails_its_trials(three):
    runs, slots = three
    started(runs, slots, {}, {"breaks": "step"}, {})
    for slot in slots[:2]:
        slot.send("next")
    runs.ready(slots[:2])
    for slot in slots[:2]:
        with pytest.raises(TrialFailed, match="ValueError: no step today"):
            slot.receive()
    assert slots[2].call("next").value.step == 1


def test_a_process_that_dies_costs_the_trials_of_all_slots_and_no_more(three):
    runs, slots = three
    started(runs, slots, {}, {"breaks": "process"}, {})
    for slot in slots[:2]:
        slot.send("next")
    runs.ready(slots[:2])
    for slot in slots[:2]:
        with pytest.raises(TrialFailed, match=r"the worker died \(signal 9\)"):
            slot.receive()
    with pytest.raises(TrialFailed, match="died with the trials of all slots"):
        slots[2].call("next")
    started(runs, slots, {}, {}, {})
    assert slots[2].call("next").value.step == 1


def test_a_checkpoint_that_is_refused_is_told_as_such(three, tmp_path):
    _, slots = three
    with pytest.raises(UnusableCheckpoint, match="is none"):
        slots[1].call("start", trial(1), tmp_path / "none")


SIMULATED = TrainerSpec("curves", "x:Y", {}, "v1", simulated=True)


@pytest.mark.parametrize(
    ("name", "device", "spec", "found"),
    [(None, "auto", SPEC, "local"), (None, "auto", SIMULATED, "simulated"), ("packed", "cpu", SPEC, "packed")],
)
def test_an_executor_is_what_is_named_or_what_suits_the_trainer(name, device, spec, found):
    assert executor_name(name, device, spec) == found


@pytest.mark.parametrize(
    ("name", "device", "spec", "message"),
    [
        ("pakced", "auto", SPEC, r"unknown executor 'pakced' \(did you mean 'packed'\?\); valid: local, packed"),
        ("packed", "auto", SIMULATED, "executor=packed: trainer curves runs one trial at a time"),
        ("local", "auto", SIMULATED, "executor=local: trainer curves tells costs .* executor=simulated runs it"),
        ("simulated", "auto", SPEC, "executor=simulated: trainer fake takes real time; executor=local runs it"),
        ("packed", "gpu", SPEC, r"unknown device 'gpu' .*; valid: auto, cpu, cuda"),
        (None, "cuda", SPEC, "device=cuda is for executor=packed"),
    ],
)
def test_an_executor_that_cannot_run_the_trainer_is_refused_in_one_line(name, device, spec, message):
    with pytest.raises(UsageError, match=message) as error:
        executor(name, device, 60.0, spec)
    assert "\n" not in str(error.value)
