"""Last digit, step by step: questions, worked solutions, splits, and an exact reward."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest

from jfhpo.tasks.last_digit import LastDigit
from jfhpo.tasks.text_task import Corruption, Example, TextTask
from tests.tasks.drawing import questions, within

TASK = LastDigit()
CLEAN = Corruption()
SIZES = {"train": 1500, "validation": 200, "test": 200}
STEP = re.compile(r"(\d)([+*-])(\d)=(\d)")


def evaluate(prompt: str) -> int:
    """The last digit from left to right, read off the text of the prompt: independent of the task's own code."""
    expression = prompt.strip().removesuffix("=")
    value, rest = int(expression[0]), expression[1:]
    while rest:
        # Parentheses, then Python's own arithmetic: only the last digit is kept.
        value = eval(f"({value}){rest[:2]}") % 10
        rest = rest[2:]
    return value


# -- questions and answers


def test_the_independent_evaluator_agrees_with_a_sum_done_by_hand():
    assert evaluate(" 2-4*4-9-8=") == 5  # 2-4=8, 8*4=2, 2-9=3, 3-8=5: the example of the documentation


def test_answers_are_right():
    for question in questions(TASK, 3000):
        assert TASK.answer(question) == str(evaluate(TASK.prompt(question))), question


def test_every_prompt_has_the_same_width_and_ends_in_the_equals_sign():
    prompts = [TASK.prompt(q) for q in questions(TASK, 2000)]
    assert {len(p) for p in prompts} == {TASK.prompt_length}
    assert all(re.fullmatch(r" *[1-9]([+*-][1-9]){2,4}=", p) for p in prompts)
    assert {len(re.findall(r"\d", p)) for p in prompts} == {3, 4, 5}


def test_operators_are_drawn_from_two_plus_two_minus_one_times():
    counts = Counter(op for q in questions(TASK, 4000) for op in q[1::2])
    total = counts.total()
    assert counts["+"] / total == pytest.approx(0.4, abs=0.02)
    assert counts["-"] / total == pytest.approx(0.4, abs=0.02)
    assert counts["*"] / total == pytest.approx(0.2, abs=0.02)


def test_the_commonest_answer_does_not_pay():
    counts = Counter(TASK.answer(q) for q in questions(TASK, 20_000))
    assert len(counts) == 10
    assert counts.most_common(1)[0][1] / 20_000 < 0.15


# -- worked solutions


def test_clean_work_follows_the_question_and_every_step_of_it_is_right():
    rng = random.Random(1)
    for question in questions(TASK, 1500):
        text = TASK.work(question, rng, CLEAN)
        work, _, answer = text.partition("#")
        steps = [STEP.fullmatch(s).groups() for s in work.split(",")]
        assert [s[1] for s in steps] == list(question[1::2])
        assert [s[2] for s in steps] == [str(d) for d in question[2::2]]
        assert [s[0] for s in steps] == [str(question[0]), *(s[3] for s in steps[:-1])]
        assert all(int(c) == evaluate(f"{a}{op}{b}=") for a, op, b, c in steps)
        assert answer == TASK.answer(question) == steps[-1][3]
        assert TextTask.check(text, TASK.answer(question)) == 1.0


def test_the_documented_example():
    question = (2, "-", 4, "*", 4, "-", 9, "-", 8)
    assert TASK.prompt(question) == "2-4*4-9-8="
    assert TASK.work(question, random.Random(0), CLEAN) == "2-4=8,8*4=2,2-9=3,3-8=5#5"


def wrong_steps(text: str) -> list[bool]:
    return [int(c) != evaluate(f"{a}{op}{b}=") for a, op, b, c in STEP.findall(text)]


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.6])
def test_steps_are_wrong_as_often_as_asked_and_later_steps_go_on_from_the_wrong_result(rate):
    rng, seen = random.Random(2), []
    for question in questions(TASK, 1500):
        text = TASK.work(question, rng, Corruption(wrong_step=rate))
        work, _, answer = text.partition("#")
        steps = [STEP.fullmatch(s).groups() for s in work.split(",")]
        assert [s[0] for s in steps[1:]] == [s[3] for s in steps[:-1]], "the next step continues the last result"
        assert answer == steps[-1][3]
        seen += wrong_steps(text)
    assert within(sum(seen) / len(seen), rate, len(seen))


def test_a_wrong_result_is_each_other_digit_alike():
    rng, errors = random.Random(3), Counter()
    for question in questions(TASK, 1500):
        for a, op, b, c in STEP.findall(TASK.work(question, rng, Corruption(wrong_step=1.0))):
            errors[(int(c) - evaluate(f"{a}{op}{b}=")) % 10] += 1
    assert 0 not in errors
    assert all(within(errors[d] / errors.total(), 1 / 9, errors.total()) for d in range(1, 10))


# -- splits


def test_examples_carry_the_right_answer():
    for example in itertools.chain(*TASK.splits(SIZES).values()):
        assert example == Example(example.prompt, str(evaluate(example.prompt)))


# -- the reward


@pytest.mark.parametrize(
    ("completion", "ended", "reward"),
    [
        ("2-4=8,8*4=2#2", True, 1.0),
        ("#2", True, 1.0),
        ("rubbish#2", True, 1.0),
        ("2-4=8,8*4=2", True, 0.0),  # no mark
        ("2", True, 0.0),  # the answer, without the mark
        ("", True, 0.0),
        ("#", True, 0.0),
        ("#3", True, 0.0),
        ("#2", False, 0.0),  # not ended
        ("#2#2", True, 0.0),  # two marks
        ("#3#2", True, 0.0),
        ("##2", True, 0.0),
        ("#22", True, 0.0),
        ("#2 ", True, 0.0),  # trailing junk
        ("#2,", True, 0.0),
        ("# 2", True, 0.0),
        ("#02", True, 0.0),
        ("#-2", True, 0.0),
        ("#12", True, 0.0),
        ("2#", True, 0.0),  # the wrong way round
        ("#" + "2" * 100_000, True, 0.0),
        ("1+1=2," * 20_000 + "#2", True, 1.0),  # long, but right
    ],
)
def test_the_reward_is_exact(completion, ended, reward):
    assert TextTask.check(completion, "2", ended) == reward


def test_letters_count_in_their_case():
    assert TextTask.check("#yes", "yes") == 1.0
    assert TextTask.check("#Yes", "yes") == 0.0


def test_a_longer_answer_counts_only_as_a_whole():
    assert TextTask.check("#12", "12") == 1.0
    assert TextTask.check("#1", "12") == TextTask.check("#2", "12") == TextTask.check("#123", "12") == 0.0
