"""Runs recorded side by side leave the lines of runs recorded one by one."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.config import plain
from experiments.record import opened, packing, packs, plans_of
from experiments.replay.runs import record_pack, record_run
from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import PackedTrainer, TrainingFailed
from jfhpo.core.trial import Cost
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.trainers.curves.trainer import CurvesTrainer

WORDS = ["problem=curves", "models=[p,l]", "configs=12"]
PACKABLE = TrainerSpec("mini", "a:A", {}, "v1", packed="a:B")
ALONE = TrainerSpec("verl", "a:A", {}, "v1")


class Curves(PackedTrainer):
    """A `CurvesTrainer` in every slot; those of the numbers in `failing` fail at their third step."""

    def __init__(self, failing: tuple[int, ...] = ()):
        self.failing, self.trainers, self.steps, self.together = failing, {}, {}, []

    def start(self, slot, trial, checkpoint=None):
        self.trainers[slot] = Failing(slot in self.failing)
        self.steps[slot] = self.trainers[slot].start(trial, checkpoint)

    def advance(self, slots):
        self.together.append(len(slots))
        found = {}
        for slot in slots:
            try:
                found[slot] = next(self.steps[slot], None)
            except TrainingFailed as failure:
                found[slot] = failure
        return found

    def save(self, slot, path):
        self.trainers[slot].save(path)

    def evaluate(self, slots, *arguments):
        return {slot: self.trainers[slot].evaluate(*arguments) for slot in slots}

    def overhead(self, slot):
        return self.trainers[slot].overhead()


class Failing(CurvesTrainer):
    def __init__(self, fails: bool):
        super().__init__(bias=0.25, noise=0.01)
        self.fails, self.spent = fails, Cost()

    def start(self, trial, checkpoint=None):
        self.spent = Cost(seconds=0.125)
        return self._failing(super().start(trial, checkpoint))

    def _failing(self, steps):
        for record in steps:
            if self.fails and record.step == 3:
                self.spent = record.cost
                raise TrainingFailed("loss is nan at step 3")
            yield record

    def overhead(self):
        spent, self.spent = self.spent, Cost()
        return super().overhead() + spent


def planned(*words: str):
    ((plan, config),), _, jobs = plans_of([*WORDS, *words])
    return plan, plain(config)["problem"], jobs


@pytest.mark.parametrize("failing", [(), (1, 4)])
def test_the_lines_of_a_pack_are_those_of_its_runs_alone(failing):
    plan, *_ = planned()
    runs = [run for some in plan.runs() for run in some if run.model == "p"][:6]
    pack = Curves(failing)
    lines = record_pack(pack, runs, plan.problem, plan.validate_at, plan.test_k)
    for slot, (run, line) in enumerate(zip(runs, lines, strict=True)):
        alone = record_run(Failing(slot in failing), run, plan.problem, plan.validate_at, plan.test_k)
        assert line == alone
        assert line["status"] == ("failed" if slot in failing else "completed")
        assert len(line["loss"]) == (2 if slot in failing else plan.problem.max_steps)
    steps = plan.problem.max_steps
    assert pack.together == [6] * 3 + [6 - len(failing)] * (steps - 3), "all that are left go in step"


def test_what_is_no_failure_of_a_run_ends_the_recording():
    plan, *_ = planned()
    runs = next(plan.runs())[:2]
    pack = Curves()
    pack.evaluate = lambda *_: (_ for _ in ()).throw(MemoryError("too little"))
    with pytest.raises(MemoryError):
        record_pack(pack, runs, plan.problem, plan.validate_at, plan.test_k)


def test_a_pack_is_the_next_run_and_others_of_its_size_and_every_run_is_in_one():
    plan = replace(planned()[0], packed=5)
    every = [(plan, run) for some in plan.runs() for run in some]
    found = list(packs(every))
    assert sorted(run.name for _, runs in found for run in runs) == sorted(run.name for _, run in every)
    assert {len({run.model for run in runs}) for _, runs in found} == {1}
    assert found[0][1][0] == every[0][1] and max(len(runs) for _, runs in found) == 5
    first = [runs[0].configuration for _, runs in found]
    assert first == sorted(first), "configurations become whole one after the other"


def test_without_packing_runs_come_one_by_one_in_their_order():
    plan, *_ = planned()
    every = [(plan, run) for some in plan.runs() for run in some]
    assert [(p, *runs) for p, runs in packs(every)] == every


@pytest.mark.parametrize(
    ("wanted", "device", "spec", "gpu", "found"),
    [
        (-1, "auto", PACKABLE, False, (0, "cpu")),
        (-1, "auto", PACKABLE, True, (64, "cuda")),
        (-1, "cpu", PACKABLE, True, (0, "cpu")),
        (-1, "auto", ALONE, True, (0, "cpu")),
        (0, "auto", PACKABLE, True, (0, "cpu")),
        (16, "auto", PACKABLE, True, (16, "cuda")),
        (16, "auto", PACKABLE, False, (16, "cpu")),
    ],
)
def test_packing_is_what_is_wanted_or_what_suits_the_machine(wanted, device, spec, gpu, found):
    assert packing(wanted, device, spec, gpu) == found


@pytest.mark.parametrize(
    ("wanted", "device", "spec", "message"),
    [
        (16, "auto", ALONE, "packed=16: trainer verl runs one trial at a time; packed=0 records one by one"),
        (16, "cuda", PACKABLE, "device=cuda, and this machine has no GPU"),
        (0, "cpu", PACKABLE, "device=cpu is for packed runs"),
        (16, "gpu", PACKABLE, "unknown device 'gpu'"),
    ],
)
def test_packing_that_cannot_be_is_refused_in_one_line(wanted, device, spec, message):
    with pytest.raises(UsageError, match=message) as error:
        packing(wanted, device, spec, gpu=False)
    assert "\n" not in str(error.value)


def test_a_recording_is_packed_on_one_device_or_not_at_all(tmp_path: Path):
    plan, conf, _ = planned()
    opened(plan, conf, tmp_path).close()
    with closing(opened(plan, conf, tmp_path)):
        pass
    with pytest.raises(UsageError, match="packed_on=None there, cpu here"):
        opened(replace(plan, packed=4), conf, tmp_path)
