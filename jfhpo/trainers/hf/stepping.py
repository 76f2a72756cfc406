"""A Hugging Face `Trainer.train()`, which runs to its end by itself, taken step by step.

It runs in a thread of its own that waits in a callback wherever the study has to decide: before the first step, after
each step, and after a checkpoint that the study asked for. Only one of the two threads ever runs, so nothing is shared
that needs a lock, and the process's random state is the training's while that one does: it is exchanged on the way.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from transformers import TrainerCallback

from jfhpo.trainers.hf.random_state import RandomState, undisturbed


class Stopped(Exception):
    """The training thread is told to end."""


@dataclass
class Step:
    """What the trainer logged since the step before, one dictionary per optimizer step."""

    number: int
    logs: list[Mapping[str, float]] = field(default_factory=list)


class StepByStep(TrainerCallback):
    """Add it to a trainer with ``logging_steps=1``, and hand `run` its ``train``."""

    def __init__(self, updates: int):
        self.updates = updates
        self.logs: list[Mapping[str, float]] = []
        self.answers: SimpleQueue[Any] = SimpleQueue()
        self.orders: SimpleQueue[str] = SimpleQueue()
        self.thread: threading.Thread | None = None
        self.state: RandomState | None = None
        """The training's, while the study has the word."""

    # -- the study's side

    def run(self, train: Callable[[], object]) -> None:
        """Begin to train, from the random state that there is now; returns when everything is loaded and the first step
        is next. Raises what the training raised."""

        def target() -> None:
            try:
                train()
                self.answers.put(None)
            except Stopped:
                self.answers.put(None)
            except BaseException as error:  # handed over to the study's thread, which raises it
                self.answers.put(error)

        self.thread = threading.Thread(target=target, daemon=True, name="training")
        self.state = RandomState.now()
        self._while_it_has_the_word(self.thread.start)

    def next(self) -> Step | None:
        """The next step; None when the training has ended. Raises what the training raised."""
        return self._order("go on") if self.waits else None

    def save(self) -> None:
        """Have the trainer write its checkpoint of this step; returns when it is written."""
        self._order("save")

    def end(self) -> None:
        """Leave the training where it is."""
        if self.thread is not None and self.thread.is_alive():
            self.orders.put("stop")
            self.thread.join()
        self.thread = None

    def _order(self, order: str) -> Any:
        return self._while_it_has_the_word(lambda: self.orders.put(order))

    def _while_it_has_the_word(self, give: Callable[[], None]) -> Any:
        with undisturbed():
            self.state.restore()
            give()
            answer = self.answers.get()
            self.state = RandomState.now()
        self.waits = not isinstance(answer, BaseException) and answer is not None
        if isinstance(answer, BaseException):
            raise answer
        return answer

    # -- the training's side

    def on_train_begin(self, args, state, control, **kwargs) -> None:
        self._wait("ready", control)

    def on_log(self, args, state, control, logs=None, **kwargs) -> None:
        if "train_runtime" in (logs or {}):  # the summary at the very end
            return
        # TRL logs None where a metric is not finite.
        self.logs.append({name: math.nan if value is None else value for name, value in (logs or {}).items()})
        if state.global_step % self.updates == 0:
            step = Step(state.global_step // self.updates, self.logs)
            self.logs = []
            self._wait(step, control)

    def on_save(self, args, state, control, **kwargs) -> None:
        self._wait("saved", control)

    def _wait(self, answer: Any, control: Any) -> None:
        self.answers.put(answer)
        order = self.orders.get()
        if order == "stop":
            raise Stopped
        control.should_save = order == "save"
