"""What fine-tuning on instructions needs: pairs to learn, pairs to measure the loss on, and questions to answer.

Downstream accuracy is measured on questions with a checkable answer. The miniature set's are its own; the published
sets have none, and a data set of `jfhpo.tasks.datasets` (``problem.data.downstream``) asks its questions in the same
prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks import datasets
from jfhpo.tasks.datasets.rewards import grader
from jfhpo.tasks.instructions import published
from jfhpo.tasks.instructions.generated import Instructions

GENERATED = Instructions()
SIZES = {"train": 4096, "validation": 512, "test": 512}
"""Of the generated set: those of the miniature trainer, so that its bases have seen none of these questions."""
ARGUMENTS = ("folders", "share", "seed", "downstream", "downstream_data")
"""What ``problem.data`` may hold for the published sets."""

Pair = tuple[str, str]
"""A prompt, and the response to it."""


@dataclass(frozen=True)
class Questions:
    prompts: Sequence[str]
    answers: Sequence[str]

    def __len__(self) -> int:
        return len(self.prompts)

    def first(self, count: int) -> Questions:
        return Questions(self.prompts[:count], self.answers[:count])


@dataclass(frozen=True)
class Material:
    train: Sequence[Pair]
    validation: Sequence[Pair]
    """What the objective is measured on: shares no prompt with `train`."""
    questions: Mapping[str, Questions]
    """``validation`` and ``test``."""
    right: Callable[[str, str], bool]
    """(completion, answer) -> whether it is right."""
    longest: int | None
    """Tokens of the longest answer, where that is known."""


def check(task: str, data: Mapping[str, Any]) -> None:
    """A `UsageError` for a task or settings that cannot be; nothing is loaded."""
    if task == GENERATED.name:
        if data:
            raise UsageError(f"problem.data.{next(iter(data))}: task {task} is generated and takes no data")
        return
    try:
        published.sources_of(task)
    except UsageError as error:
        allowed = f"{GENERATED.name}, or {' and '.join(published.SOURCES)}, joined by _ where both are meant"
        raise UsageError(f"problem.task={task} is no set of instructions; valid: {allowed}") from error
    for name in data:
        if name not in ARGUMENTS:
            raise unknown("problem.data", name, ARGUMENTS)
    if data.get("downstream") not in datasets.names():
        raise unknown("problem.data.downstream", data.get("downstream"), datasets.names())


def load(task: str, data: Mapping[str, Any]) -> Material:
    check(task, data)
    return _generated() if task == GENERATED.name else _published(task, dict(data))


def _generated() -> Material:
    drawn = GENERATED.drawn(SIZES)
    pairs = {s: [(GENERATED.prompt(q), GENERATED.solution(q)) for q in drawn[s]] for s in ("train", "validation")}
    asked = {
        s: Questions([GENERATED.prompt(q) for q in drawn[s]], [GENERATED.answer(q) for q in drawn[s]])
        for s in ("validation", "test")
    }
    return Material(pairs["train"], pairs["validation"], asked, _generated_right, GENERATED.completion_length)


def _generated_right(completion: str, answer: str) -> bool:
    # A token per character and end-of-sequence: a completion that leaves no room for it was cut.
    return bool(GENERATED.check(completion, answer, ended=len(completion) < GENERATED.completion_length))


def _published(task: str, data: dict[str, Any]) -> Material:
    name, where = data.pop("downstream"), data.pop("downstream_data", None) or {}
    asked = datasets.load(name, **where)
    template = published.WITHOUT_INPUT.format
    questions = {
        s: Questions([template(instruction=r.prompt) for r in asked.splits[s]], [r.answer for r in asked.splits[s]])
        for s in ("validation", "test")
    }
    rows = published.load(task, **data)
    pairs = {s: [(r.prompt, r.answer) for r in getattr(rows, s)] for s in ("train", "validation")}
    return Material(pairs["train"], pairs["validation"], questions, grader(name), None)
