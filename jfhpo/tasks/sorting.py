"""Insertion sort: put five digits in order by inserting one after the other.

``53819=`` is answered by ``35,358,1358#13589``: the last insertion gives the answer. Digits are drawn independently,
and any of them may come twice. No answer comes more often than 120 times in 100,000: guessing does not pay.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import ClassVar

from jfhpo.tasks.text_task import ANSWER_MARK, Corruption, TextTask

Question = tuple[int, ...]
"""The digits, unsorted."""


def joined(digits: Iterable[int]) -> str:
    return "".join(map(str, digits))


class Sorting(TextTask):
    name: ClassVar[str] = "sorting"
    alphabet: ClassVar[str] = "0123456789=,#"
    digits: ClassVar[int] = 5
    prompt_length: ClassVar[int] = digits + 1
    completion_length: ClassVar[int] = sum(range(2, digits + 1)) + digits - 1  # lists of 2, 3, … digits, ",,#", end
    # A model learns to sort at one glance too, so direct answers are spoilt more than in the other tasks.
    pollution: ClassVar[Corruption] = Corruption(direct=0.65, wrong_step=0.45)

    def draw(self, rng: random.Random) -> Question:
        return tuple(rng.randrange(10) for _ in range(self.digits))

    def prompt(self, question: Question) -> str:
        return f"{joined(question)}="

    def answer(self, question: Question) -> str:
        return joined(sorted(question))

    def work(self, question: Question, rng: random.Random, corruption: Corruption) -> str:
        """A wrong step inserts another digit than the next one, where that one belongs: the list stays sorted, and
        the answer can no longer be right."""

        def spoilt(digit: int) -> int:
            if rng.random() >= corruption.wrong_step:
                return digit
            return rng.choice([d for d in range(10) if d != digit])

        if rng.random() < corruption.direct:
            *rest, last = question
            return f"{ANSWER_MARK}{joined(sorted([*rest, spoilt(last)]))}"
        first, *rest = question
        held, steps = [first], []
        for digit in rest:
            held = sorted([*held, spoilt(digit)])
            steps.append(joined(held))
        *steps, last = steps
        return f"{','.join(steps)}{ANSWER_MARK}{last}"
