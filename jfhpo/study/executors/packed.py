"""Slots of one packed trainer in one worker process: trials that are under way at the same time advance together.

A request is kept until somebody waits for an answer. `ready` then sends what all slots were asked, and the process
takes one step of all trials that want one in a single call (`jfhpo.study.executors.pack_host`). Everything is answered
before anything else is sent, so trials that once go in step stay in step, and nobody waits for a slot that does not
ask: one that saves is answered by itself, and one whose next trial is being thought of is left out of a step.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from jfhpo.study.executors.local import Worker, told
from jfhpo.study.executors.protocol import Reply, TrainerSpec
from jfhpo.study.report_checks import TrialFailed

HOST = "jfhpo.study.executors.pack_host:PackHost"


class Slot:
    """One trial of the pack. At most one request is under way."""

    def __init__(self, executor: PackedExecutor, number: int):
        self.executor, self.number = executor, number
        self.asked: tuple[str, tuple[Any, ...]] | None = None
        self.answer: Reply | Exception | None = None
        self.began_in = -1
        """Number of the process, as the executor counts them, in which its trial was started."""

    def send(self, verb: str, *arguments: Any) -> None:
        self.asked = verb, arguments

    def receive(self) -> Reply:
        if self.asked is not None:
            self.executor.carry_out([self])
        answer, self.answer = self.answer, None
        if isinstance(answer, Exception):
            raise answer
        return answer

    def call(self, verb: str, *arguments: Any) -> Reply:
        self.send(verb, *arguments)
        return self.receive()

    def close(self) -> None:
        self.executor.leave(self)


class PackedExecutor:
    """Hands out slots of one process, which is started when something is asked first; its clock is the time of day.

    A process that dies or hangs costs the trials of all its slots, never the study.
    """

    def __init__(self, spec: TrainerSpec, device: str, timeout: float):
        """`device` is ``auto``, ``cpu`` or ``cuda``; `timeout` in seconds, for all that is asked at once."""
        arguments = {"path": spec.packed, "arguments": {**spec.arguments, "device": device}}
        self.host = replace(spec, path=HOST, arguments=arguments)
        self.timeout, self.slots, self.processes = timeout, [], 0
        self.process: Worker | None = None

    def worker(self) -> Slot:
        self.slots.append(Slot(self, len(self.slots)))
        return self.slots[-1]

    def ready(self, workers: Sequence[Slot]) -> list[Slot]:
        """All of them, once every request is carried out."""
        self.carry_out([slot for slot in workers if slot.asked is not None])
        return list(workers)

    def carry_out(self, slots: Sequence[Slot]) -> None:
        """Have these slots' requests answered, all at once."""
        asked = []
        for slot in slots:
            verb, arguments = slot.asked
            if verb == "start":
                slot.began_in = self.processes
            if slot.began_in == self.processes:
                asked.append((slot, verb, arguments))
            else:
                slot.answer = TrialFailed("the worker died with the trials of all slots")
            slot.asked = None
        if not asked:
            return
        if self.process is None:
            self.process = Worker(self.host, self.timeout)
        try:
            reply = self.process.call("batch", [(slot.number, verb, arguments) for slot, verb, arguments in asked])
        except TrialFailed as failure:
            self.processes += 1
            for slot, _, _ in asked:
                slot.answer = TrialFailed(str(failure))
            return
        for (slot, verb, _), (kind, value, overhead) in zip(asked, reply.value, strict=True):
            try:
                slot.answer = told(verb, kind, value, overhead)
            except RuntimeError as error:  # `TrialFailed` or `UnusableCheckpoint`: raised where the slot is read
                slot.answer = error

    def leave(self, slot: Slot) -> None:
        """A slot is done with; the process ends with the last one."""
        self.slots.remove(slot)
        if not self.slots and self.process is not None:
            self.process.close()
            self.process = None

    def now(self) -> float:
        return time.time()
