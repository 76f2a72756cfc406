"""Four choices from a closed book: the right letter is where the relations lead, and guessing pays a quarter."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import pairwise

import pytest

from jfhpo.tasks.four_choices import BOOK, THINGS, FourChoices, Question
from jfhpo.tasks.text_task import Corruption
from tests.tasks.drawing import questions, within

TASK = FourChoices()
PROMPT = re.compile(r"([a-p])([w-z]{3})\?([a-p])A([a-p])B([a-p])C([a-p])D")
STEP = re.compile(r"([a-p])([w-z])=([a-p])")
FACTS = {(thing, relation): to for relation, row in BOOK.items() for thing, to in zip(THINGS, row, strict=True)}


def parsed(text: str) -> tuple[list[tuple[str, ...]], str, str]:
    """The steps, the letter that the working ends in, and the answer."""
    work, _, answer = text.partition("#")
    return [STEP.fullmatch(s).groups() for s in work[:-1].split(",")], work[-1], answer


def is_right(step: tuple[str, ...]) -> bool:
    return FACTS[step[:2]] == step[2]


def test_the_documented_example():
    question = Question("f", "wzy", ("k", "b", "g", "m"))
    assert TASK.prompt(question) == "fwzy?kAbBgCmD"
    assert TASK.answer(question) == "B"
    assert TASK.work(question, random.Random(0), Corruption()) == "fw=l,lz=j,jy=bB#B"


def test_the_book_leads_from_every_thing_to_another_and_to_none_twice():
    for row in BOOK.values():
        assert sorted(row) == list(THINGS)
        assert all(thing != to for thing, to in zip(THINGS, row, strict=True))
    assert len(set(BOOK.values())) == len(BOOK)


def test_the_answer_is_the_letter_of_the_thing_reached_and_the_options_differ():
    for question in questions(TASK, 3000):
        thing, relations, *options = PROMPT.fullmatch(TASK.prompt(question)).groups()
        for relation in relations:
            thing = FACTS[thing, relation]
        assert len(set(options)) == 4
        assert TASK.answer(question) == "ABCD"[options.index(thing)]


def test_letters_and_things_reached_are_drawn_alike():
    count = 20_000
    asked = questions(TASK, count)
    letters = Counter(TASK.answer(q) for q in asked)
    assert all(within(letters[x] / count, 1 / 4, count) for x in "ABCD")
    things = Counter(q.options["ABCD".index(TASK.answer(q))] for q in asked)
    assert all(within(things[x] / count, 1 / 16, count) for x in THINGS)


def test_clean_work_follows_the_relations_of_the_prompt():
    rng = random.Random(1)
    for question in questions(TASK, 1500):
        start, relations, *options = PROMPT.fullmatch(TASK.prompt(question)).groups()
        steps, letter, answer = parsed(TASK.work(question, rng, Corruption()))
        assert steps[0][0] == start
        assert "".join(relation for _, relation, _ in steps) == relations
        assert all(after[0] == before[2] for before, after in pairwise(steps))
        assert all(map(is_right, steps))
        assert letter == answer == "ABCD"[options.index(steps[-1][2])]


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.6])
def test_steps_are_wrong_as_often_as_asked_and_later_steps_go_on_from_the_wrong_thing(rate):
    rng, wrong = random.Random(2), []
    for question in questions(TASK, 1500):
        steps, letter, answer = parsed(TASK.work(question, rng, Corruption(wrong_step=rate)))
        assert all(after[0] == before[2] for before, after in pairwise(steps))
        assert letter == answer
        if steps[-1][2] in question.options:
            assert answer == "ABCD"[question.options.index(steps[-1][2])]
        wrong += [not is_right(step) for step in steps]
    assert within(sum(wrong) / len(wrong), rate, len(wrong))


def test_a_thing_that_is_no_option_makes_the_letter_a_guess():
    rng, guesses = random.Random(3), []
    for question in questions(TASK, 4000):
        steps, _, answer = parsed(TASK.work(question, rng, Corruption(wrong_step=0.6)))
        if steps[-1][2] not in question.options:
            guesses.append(answer == TASK.answer(question))
    assert len(guesses) > 1000
    assert within(sum(guesses) / len(guesses), 1 / 4, len(guesses))


def test_a_wrong_direct_answer_is_each_other_letter_alike():
    rng, errors = random.Random(4), Counter()
    for question in questions(TASK, 3000):
        given = TASK.work(question, rng, Corruption(direct=1.0, wrong_step=1.0)).removeprefix("#")
        errors[("ABCD".index(given) - "ABCD".index(TASK.answer(question))) % 4] += 1
    assert errors.keys() == {1, 2, 3}
    assert all(within(n / 3000, 1 / 3, 3000) for n in errors.values())
