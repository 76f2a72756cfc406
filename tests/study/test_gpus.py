"""Every worker sees GPUs of its own, as far as there are enough; no GPU is needed to see that."""

from __future__ import annotations

import os

import pytest

from jfhpo.core.trial import Cost
from jfhpo.study.executors import gpus
from jfhpo.study.executors.local import LocalExecutor
from jfhpo.study.executors.protocol import TrainerSpec

FOUR = ["0", "1", "2", "3"]


class Sees:
    """Stands in for a trainer, and for a library that leaves variables behind."""

    def start(self) -> None:
        self.left, self.process = os.environ.get("LOCAL_RANK"), os.getpid()
        os.environ["LOCAL_RANK"] = "0"

    def save(self) -> tuple[str | None, int]:
        return self.left, self.process

    def evaluate(self) -> str | None:
        """What its process is shown."""
        return os.environ.get(gpus.VISIBLE)

    def overhead(self) -> Cost:
        return Cost()


@pytest.mark.parametrize(
    ("each", "ids", "shown"),
    [
        (1, FOUR, ["0", "1", "2", "3", "0", "1"]),
        (2, FOUR, ["0,1", "2,3", "0,1", "2,3", "0,1", "2,3"]),
        (3, FOUR, ["0,1,2"] * 6),  # the fourth is of no use to another
        (1, ["GPU-8f", "GPU-3c"], ["GPU-8f", "GPU-3c"] * 3),
        (0, FOUR, [None] * 6),
        (8, FOUR, [None] * 6),
        (1, [], [None] * 6),
    ],
)
def test_workers_take_them_in_turn(each, ids, shown):
    assert [gpus.of_worker(number, each, ids).get(gpus.VISIBLE) for number in range(6)] == shown


@pytest.mark.parametrize(
    ("listed", "count", "ids"),
    [
        (None, 3, ["0", "1", "2"]),
        ("4,6", 2, ["4", "6"]),
        ("1,-1,2", 1, ["1"]),  # CUDA reads up to the first that is none
        ("", 0, []),
        ("GPU-8f,GPU-3c", 2, ["GPU-8f", "GPU-3c"]),
    ],
)
def test_only_those_that_the_study_may_use_are_handed_out(listed, count, ids, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    if listed is not None:
        monkeypatch.setenv(gpus.VISIBLE, listed)
    assert gpus.visible() == ids


def test_a_worker_process_is_shown_its_own_also_after_a_restart(monkeypatch):
    monkeypatch.setattr(gpus, "visible", lambda: FOUR)
    executor = LocalExecutor(TrainerSpec("fake", f"{__name__}:Sees", {}, "v1", gpus_each=2), 60.0)
    workers = [executor.worker() for _ in range(3)]
    try:
        assert [worker.call("evaluate").value for worker in workers] == ["0,1", "2,3", "0,1"]
        workers[1].restart()
        assert workers[1].call("evaluate").value == "2,3"
    finally:
        for worker in workers:
            worker.close()


def test_an_engine_on_the_cpu_is_left_alone(monkeypatch):
    monkeypatch.setattr(gpus, "visible", lambda: pytest.fail("looked for GPUs"))
    monkeypatch.setenv(gpus.VISIBLE, "7")
    worker = LocalExecutor(TrainerSpec("fake", f"{__name__}:Sees", {}, "v1"), 60.0).worker()
    try:
        assert worker.call("evaluate").value == "7"
    finally:
        worker.close()


@pytest.mark.parametrize(("in_worker", "ids", "fresh"), [(True, FOUR, True), (True, [], False), (False, FOUR, False)])
def test_a_process_that_used_a_gpu_ends_with_its_trial(in_worker, ids, fresh, monkeypatch):
    monkeypatch.setattr(gpus, "visible", lambda: ids)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    spec = TrainerSpec("fake", f"{__name__}:Sees", {}, "v1", gpus_each=1, in_worker=in_worker)
    worker = LocalExecutor(spec, 60.0).worker()
    found = []
    try:
        for _ in range(3):
            worker.call("start")
            found.append(worker.call("save").value)
    finally:
        worker.close()
    left, processes = zip(*found, strict=True)
    assert left == ((None, None, None) if fresh else (None, "0", "0"))
    assert len(set(processes)) == (3 if fresh else 1)
