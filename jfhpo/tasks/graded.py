"""Partial credit: how much of a worked solution is right, where `TextTask.check` only asks for the answer.

A clean solution of T steps and an answer has T + 1 parts, and the reward is the share of them that is right: a step
counts if it is, character for character, the clean solution's step at its place, the answer if `TextTask.check` says
so. 1 is right work with the right answer, which alone is worth 1/(T + 1). Used for training only: accuracy stays exact.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, NamedTuple

from jfhpo.core.errors import UsageError
from jfhpo.tasks import four_choices, linear_equation
from jfhpo.tasks.text_task import ANSWER_MARK, Corruption, TextTask

STEP_MARK = ","


class Solution(NamedTuple):
    """The clean working of one question."""

    steps: tuple[str, ...]
    answer: str


def _last_digit(prompt: str) -> tuple[int | str, ...]:
    return tuple(int(c) if c.isdigit() else c for c in prompt.strip().removesuffix("="))


def _linear_equation(prompt: str) -> linear_equation.Question:
    outer, inner, sign, term, outer_sign, outer_term, right = (prompt[i] for i in (0, 2, 4, 5, 7, 8, 10))
    return linear_equation.Question(
        int(outer), int(inner), sign, int(term), outer_sign, int(outer_term), int(right)
    )  # fmt: skip


def _sorting(prompt: str) -> tuple[int, ...]:
    return tuple(map(int, prompt.removesuffix("=")))


def _four_choices(prompt: str) -> four_choices.Question:
    asked, _, options = prompt.partition("?")
    return four_choices.Question(asked[0], asked[1:], tuple(options[::2]))


QUESTIONS: dict[str, Callable[[str], Any]] = {
    "last_digit": _last_digit,
    "linear_equation": _linear_equation,
    "sorting": _sorting,
    "four_choices": _four_choices,
}
"""Task -> its prompt read back as the question that it was written from."""


def solution(task: TextTask, prompt: str) -> Solution:
    """The clean solution of a prompt; a `UsageError` for a task whose prompts cannot be read back."""
    if task.name not in QUESTIONS:
        raise UsageError(f"task '{task.name}' has no graded reward; tasks that have: {', '.join(sorted(QUESTIONS))}")
    question = QUESTIONS[task.name](prompt)
    work = task.work(question, random.Random(0), Corruption())  # nothing is drawn of what is shown
    steps, _, answer = work.partition(ANSWER_MARK)
    return Solution(tuple(steps.split(STEP_MARK)), answer)


def credit(completion: str, solved: Solution, ended: bool = True) -> float:
    """Share of the parts that are right, in [0, 1]; `ended` as for `TextTask.check`."""
    steps = completion.partition(ANSWER_MARK)[0].split(STEP_MARK)
    right = sum(given == wanted for given, wanted in zip(steps, solved.steps, strict=False))
    return (right + TextTask.check(completion, solved.answer, ended)) / (len(solved.steps) + 1)
