"""Last digit, step by step: evaluate 3 to 5 one-digit operands from left to right, modulo 10.

``2-4*4-9-8=`` is answered by ``2-4=8,8*4=2,2-9=3,3-8=5#5``. Operators are drawn from ``++--*``, operands from 1 to 9
(an operand 0 would raise the commonest answer from 13 % to 19 %).
"""

from __future__ import annotations

import random
from typing import ClassVar

from jfhpo.tasks.text_task import ANSWER_MARK, Corruption, TextTask

Question = tuple[int | str, ...]
"""Operand, operator, operand, …, operand."""


def apply(a: int, operator: str, b: int) -> int:
    """One step modulo 10."""
    return (a + b if operator == "+" else a - b if operator == "-" else a * b) % 10


class LastDigit(TextTask):
    name: ClassVar[str] = "last_digit"
    alphabet: ClassVar[str] = " 0123456789+-*=,#"
    min_operands: ClassVar[int] = 3
    max_operands: ClassVar[int] = 5
    prompt_length: ClassVar[int] = 2 * max_operands
    completion_length: ClassVar[int] = 6 * (max_operands - 1) + 2  # "a+b=c," per step, "#a" for the last comma, end

    def draw(self, rng: random.Random) -> Question:
        question: list[int | str] = [rng.randint(1, 9)]
        for _ in range(rng.randint(self.min_operands, self.max_operands) - 1):
            question += [rng.choice("++--*"), rng.randint(1, 9)]
        return tuple(question)

    def prompt(self, question: Question) -> str:
        return ("".join(map(str, question)) + "=").rjust(self.prompt_length)

    def answer(self, question: Question) -> str:
        value = question[0]
        for operator, operand in zip(question[1::2], question[2::2], strict=True):
            value = apply(value, operator, operand)
        return str(value)

    def work(self, question: Question, rng: random.Random, corruption: Corruption) -> str:
        def spoilt(digit: int) -> int:
            if rng.random() >= corruption.wrong_step:
                return digit
            return rng.choice([d for d in range(10) if d != digit])

        if rng.random() < corruption.direct:
            return f"{ANSWER_MARK}{spoilt(int(self.answer(question)))}"
        value, steps = question[0], []
        for operator, operand in zip(question[1::2], question[2::2], strict=True):
            result = spoilt(apply(value, operator, operand))
            steps.append(f"{value}{operator}{operand}={result}")
            value = result
        return f"{','.join(steps)}{ANSWER_MARK}{value}"
