"""Insertion sort: answers are the prompt's digits in order, and each step inserts the next of them."""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from jfhpo.tasks.sorting import Sorting
from jfhpo.tasks.text_task import Corruption
from tests.tasks.drawing import questions, within

TASK = Sorting()


def in_order(text: str) -> bool:
    return all(a <= b for a, b in pairwise(text))


def lists_of(text: str) -> list[str]:
    """The lists of a worked solution, the answer last."""
    work, _, answer = text.partition("#")
    return [*work.split(","), answer]


def inserted(before: str, after: str) -> str:
    """The one digit that a step adds to its list."""
    (digit,) = (Counter(after) - Counter(before)).elements()
    assert not Counter(before) - Counter(after), "nothing may be lost"
    return digit


def test_the_documented_example():
    question = (5, 3, 8, 1, 9)
    assert TASK.prompt(question) == "53819="
    assert TASK.answer(question) == "13589"
    assert TASK.work(question, random.Random(0), Corruption()) == "35,358,1358#13589"


def test_answers_are_the_digits_of_the_prompt_in_order():
    for question in questions(TASK, 3000):
        answer = TASK.answer(question)
        assert in_order(answer)
        assert Counter(answer) == Counter(TASK.prompt(question).removesuffix("="))


def test_digits_are_drawn_alike_and_may_come_twice():
    prompts = [TASK.prompt(q).removesuffix("=") for q in questions(TASK, 10_000)]
    for place in range(5):
        counts = Counter(p[place] for p in prompts)
        assert all(within(counts[d] / 10_000, 0.1, 10_000) for d in "0123456789")
    distinct = sum(len(set(p)) == 5 for p in prompts) / 10_000
    assert within(distinct, 10 * 9 * 8 * 7 * 6 / 10**5, 10_000)


def test_guessing_does_not_pay():
    commonest = Counter(TASK.answer(q) for q in questions(TASK, 50_000)).most_common(1)[0][1]
    assert commonest / 50_000 < 2 * 120 / 10**5


def test_clean_work_inserts_the_digits_in_the_order_of_the_prompt():
    rng = random.Random(1)
    for question in questions(TASK, 1500):
        prompt = TASK.prompt(question)
        lists = [prompt[0], *lists_of(TASK.work(question, rng, Corruption()))]
        assert all(map(in_order, lists))
        assert [inserted(a, b) for a, b in pairwise(lists)] == list(prompt[1:5])


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.6])
def test_steps_insert_a_wrong_digit_as_often_as_asked_and_later_steps_go_on_from_that_list(rate):
    rng, wrong = random.Random(2), []
    for question in questions(TASK, 1500):
        prompt = TASK.prompt(question)
        lists = [prompt[0], *lists_of(TASK.work(question, rng, Corruption(wrong_step=rate)))]
        assert all(map(in_order, lists))
        wrong += [inserted(a, b) != due for (a, b), due in zip(pairwise(lists), prompt[1:5], strict=True)]
    assert within(sum(wrong) / len(wrong), rate, len(wrong))


def test_a_wrong_digit_is_each_other_digit_alike():
    rng, errors = random.Random(3), Counter()
    for question in questions(TASK, 3000):
        first, *_ = lists_of(TASK.work(question, rng, Corruption(wrong_step=1.0)))
        errors[(int(inserted(str(question[0]), first)) - question[1]) % 10] += 1
    assert errors.keys() == set(range(1, 10))
    assert all(within(n / 3000, 1 / 9, 3000) for n in errors.values())
