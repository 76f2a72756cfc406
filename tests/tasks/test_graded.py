"""Partial credit: prompts read back as their questions, and what is right of a solution."""

from __future__ import annotations

import random

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.tasks import TASKS
from jfhpo.tasks.graded import QUESTIONS, Solution, credit, solution
from jfhpo.tasks.last_digit import LastDigit
from jfhpo.tasks.text_task import Corruption, TextTask
from tests.tasks.drawing import questions

TASK = pytest.mark.parametrize("task", [TASKS[name] for name in QUESTIONS], ids=list(QUESTIONS))


def test_every_task_can_be_graded():
    assert set(QUESTIONS) == set(TASKS)


@TASK
def test_a_prompt_is_read_back_as_its_question(task):
    for question in questions(task, 1000):
        assert QUESTIONS[task.name](task.prompt(question)) == question


@TASK
def test_clean_work_has_full_credit_and_spoilt_work_as_much_as_its_parts_say(task):
    rng, seen = random.Random(0), set()
    for question in questions(task, 800):
        solved = solution(task, task.prompt(question))
        assert solved.answer == task.answer(question)
        assert credit(task.work(question, rng, Corruption()), solved) == 1.0
        work = task.work(question, rng, Corruption(direct=0.3, wrong_step=0.4))
        value, parts = credit(work, solved), len(solved.steps) + 1
        assert round(value * parts) / parts == pytest.approx(value)
        right = TextTask.check(work, solved.answer)
        assert (value == 1.0) <= (right == 1.0) and value >= right / parts
        if work.startswith("#"):
            assert value == right / parts
        seen.add(value)
    assert len(seen) >= 4, "credit has to be partial on some"


SOLVED = Solution(("2-4=8", "8*4=2", "2-9=3", "3-8=5"), "5")


@pytest.mark.parametrize(
    ("completion", "ended", "parts"),
    [
        ("2-4=8,8*4=2,2-9=3,3-8=5#5", True, 5),
        ("2-4=8,8*4=2,2-9=3,3-8=5#5", False, 4),  # cut at the length limit: the answer does not count
        ("2-4=8,8*4=2,2-9=4,4-8=6#6", True, 2),  # a wrong third step, gone on from
        ("#5", True, 1),
        ("#6", True, 0),
        ("", True, 0),
        ("8*4=2,2-4=8#5", True, 1),  # right steps in the wrong places
        ("2-4=8,8*4=2,2-9=3,3-8=5,3-8=5#5", True, 5),  # one more step than asked for
        ("2-4=8,8*4=2,2-9=3,3-8=5", True, 4),
        ("2-4=8,8*4=2,2-9=3,3-8=5#5#", True, 4),  # what follows the first mark is not the answer
        ("2-4=8#8*4=2,2-9=3,3-8=5#5", True, 1),
    ],
)
def test_credit_by_hand(completion, ended, parts):
    assert solution(TASKS["last_digit"], " 2-4*4-9-8=".strip().rjust(10)) == SOLVED
    assert credit(completion, SOLVED, ended) == pytest.approx(parts / 5)


def test_a_task_that_cannot_be_read_back_says_so():
    class Other(LastDigit):
        name = "other"

    with pytest.raises(UsageError, match=r"task 'other' has no graded reward; tasks that have: four_choices, last_"):
        solution(Other(), "1+1+1=")
