"""Linear equations modulo 7: undo the operations on x one after the other, from the outside in.

``3(2x-5)+4=6`` is answered by ``6-4=2,2/3=3,3+5=1,1/2=4#4``: a quotient ``u/a`` is the number that times a is u
modulo 7, which exists for every a but 0. All 49,392 equations are drawn alike, and so are the answers 0 to 6.
"""

from __future__ import annotations

import random
from typing import ClassVar, NamedTuple

from jfhpo.tasks.text_task import ANSWER_MARK, Corruption, TextTask

MODULUS = 7


class Question(NamedTuple):
    """outer·(inner·x inner_sign inner_term) outer_sign outer_term = right, modulo 7."""

    outer: int
    inner: int
    inner_sign: str
    inner_term: int
    outer_sign: str
    outer_term: int
    right: int


def apply(a: int, operator: str, b: int) -> int:
    """One step modulo 7."""
    return (a + b if operator == "+" else a - b if operator == "-" else a * pow(b, -1, MODULUS)) % MODULUS


def undoing(question: Question) -> list[tuple[str, int]]:
    """The operations that lead from the right-hand side to x."""
    undo = {"+": "-", "-": "+"}
    return [
        (undo[question.outer_sign], question.outer_term),
        ("/", question.outer),
        (undo[question.inner_sign], question.inner_term),
        ("/", question.inner),
    ]


class LinearEquation(TextTask):
    name: ClassVar[str] = "linear_equation"
    alphabet: ClassVar[str] = "0123456x()+-/=,#"
    prompt_length: ClassVar[int] = 11
    completion_length: ClassVar[int] = 4 * 6 + 2  # "a+b=c," per step, "#a" for the last comma, end

    def draw(self, rng: random.Random) -> Question:
        factor, term = range(1, MODULUS), range(MODULUS)
        return Question(
            rng.choice(factor),
            rng.choice(factor),
            rng.choice("+-"),
            rng.choice(term),
            rng.choice("+-"),
            rng.choice(term),
            rng.choice(term),
        )

    def prompt(self, question: Question) -> str:
        outer, inner, inner_sign, inner_term, outer_sign, outer_term, right = question
        return f"{outer}({inner}x{inner_sign}{inner_term}){outer_sign}{outer_term}={right}"

    def answer(self, question: Question) -> str:
        value = question.right
        for operator, operand in undoing(question):
            value = apply(value, operator, operand)
        return str(value)

    def work(self, question: Question, rng: random.Random, corruption: Corruption) -> str:
        def spoilt(digit: int) -> int:
            if rng.random() >= corruption.wrong_step:
                return digit
            return rng.choice([d for d in range(MODULUS) if d != digit])

        if rng.random() < corruption.direct:
            return f"{ANSWER_MARK}{spoilt(int(self.answer(question)))}"
        value, steps = question.right, []
        for operator, operand in undoing(question):
            result = spoilt(apply(value, operator, operand))
            steps.append(f"{value}{operator}{operand}={result}")
            value = result
        return f"{','.join(steps)}{ANSWER_MARK}{value}"
