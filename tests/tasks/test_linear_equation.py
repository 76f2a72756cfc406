"""Linear equations modulo 7: every answer solves its equation, and every worked step is an operation undone."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from jfhpo.tasks.linear_equation import LinearEquation, Question
from jfhpo.tasks.text_task import Corruption
from tests.tasks.drawing import questions, within

TASK = LinearEquation()
EQUATION = re.compile(r"([1-6])\(([1-6])x([+-])([0-6])\)([+-])([0-6])=([0-6])")
STEP = re.compile(r"([0-6])([+/-])([0-6])=([0-6])")


def solutions(prompt: str) -> list[int]:
    """Every x from 0 to 6 that makes the two sides of the prompt equal modulo 7, by trying them all."""
    outer, inner, sign, term, *rest = EQUATION.fullmatch(prompt).groups()
    outer_sign, outer_term, right = rest
    return [
        x
        for x in range(7)
        if (int(outer) * (int(inner) * x + int(sign + term)) + int(outer_sign + outer_term) - int(right)) % 7 == 0
    ]


def is_right(step: tuple[str, ...]) -> bool:
    """Read backwards, so that no step is checked by the arithmetic that made it."""
    a, operator, b, result = int(step[0]), step[1], int(step[2]), int(step[3])
    back = result - b if operator == "+" else result + b if operator == "-" else result * b
    return back % 7 == a


def steps_of(text: str) -> list[tuple[str, ...]]:
    return [STEP.fullmatch(s).groups() for s in text.partition("#")[0].split(",")]


def test_the_documented_example():
    question = Question(3, 2, "-", 5, "+", 4, 6)
    assert TASK.prompt(question) == "3(2x-5)+4=6"
    assert solutions("3(2x-5)+4=6") == [4]  # 3·(8 − 5) + 4 = 13 = 6 modulo 7
    assert TASK.work(question, random.Random(0), Corruption()) == "6-4=2,2/3=3,3+5=1,1/2=4#4"


def test_the_answer_is_the_only_solution():
    for question in questions(TASK, 3000):
        assert [TASK.answer(question)] == [str(x) for x in solutions(TASK.prompt(question))], question


def test_answers_are_drawn_alike():
    counts = Counter(TASK.answer(q) for q in questions(TASK, 20_000))
    assert counts.keys() == set("0123456")
    assert all(within(n / 20_000, 1 / 7, 20_000) for n in counts.values())


def test_clean_work_undoes_the_equation_from_the_outside_in():
    rng, undo = random.Random(1), {"+": "-", "-": "+"}
    for question in questions(TASK, 1500):
        outer, inner, sign, term, outer_sign, outer_term, right = EQUATION.fullmatch(TASK.prompt(question)).groups()
        text = TASK.work(question, rng, Corruption())
        steps = steps_of(text)
        undone = [(undo[outer_sign], outer_term), ("/", outer), (undo[sign], term), ("/", inner)]
        assert [(operator, operand) for _, operator, operand, _ in steps] == undone
        assert steps[0][0] == right
        assert all(after[0] == before[3] for before, after in pairwise(steps))
        assert all(map(is_right, steps))
        assert text.partition("#")[2] == steps[-1][3]


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.6])
def test_steps_are_wrong_as_often_as_asked_and_later_steps_go_on_from_the_wrong_result(rate):
    rng, wrong = random.Random(2), []
    for question in questions(TASK, 1500):
        text = TASK.work(question, rng, Corruption(wrong_step=rate))
        steps = steps_of(text)
        assert all(after[0] == before[3] for before, after in pairwise(steps))
        assert text.partition("#")[2] == steps[-1][3]
        wrong += [not is_right(step) for step in steps]
    assert within(sum(wrong) / len(wrong), rate, len(wrong))


def test_a_wrong_result_is_each_other_digit_alike():
    rng, errors = random.Random(3), Counter()
    for question in questions(TASK, 1500):
        first, *_ = steps_of(TASK.work(question, rng, Corruption(wrong_step=1.0)))
        right = next(r for r in range(7) if is_right((*first[:3], str(r))))
        errors[(int(first[3]) - right) % 7] += 1
    assert errors.keys() == set(range(1, 7))
    assert all(within(n / 1500, 1 / 6, 1500) for n in errors.values())
