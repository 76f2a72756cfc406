"""What holds for every task: prompts of one width, solutions that fit and pay, splits that share nothing."""

from __future__ import annotations

import random

import pytest

from jfhpo.tasks import TASKS
from jfhpo.tasks.text_task import Corruption, TextTask
from tests.tasks.drawing import questions, within

SIZES = {"train": 1500, "validation": 200, "test": 200}
MINI_SIZES = {"train": 4096, "validation": 512, "test": 512}
"""The miniature trainer's."""
CLEAN = Corruption()

pytestmark = pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)


def test_a_task_is_found_by_its_name(task):
    assert TASKS[task.name] is task


def test_every_prompt_has_the_same_width(task):
    assert {len(task.prompt(q)) for q in questions(task, 2000)} == {task.prompt_length}


def test_every_character_is_in_the_alphabet_once_and_none_is_there_in_vain(task):
    rng = random.Random(0)
    text = "".join(task.prompt(q) + task.work(q, rng, Corruption(0.3, 0.3)) for q in questions(task, 1000))
    assert set(text) == set(task.alphabet)
    assert len(set(task.alphabet)) == len(task.alphabet)


def test_clean_work_pays(task):
    rng = random.Random(1)
    for question in questions(task, 1500):
        assert TextTask.check(task.work(question, rng, CLEAN), task.answer(question)) == 1.0


def test_the_longest_solution_and_its_end_of_sequence_just_fit_the_completion_length(task):
    rng = random.Random(0)
    lengths = {len(task.work(q, rng, Corruption(0.2, 0.2))) + 1 for q in questions(task, 1000)}
    assert max(lengths) == task.completion_length


def test_direct_answers_come_as_often_as_asked_and_are_right_unless_spoilt(task):
    rng, count = random.Random(4), 2000
    asked = questions(task, count)
    texts = [task.work(q, rng, Corruption(direct=0.65)) for q in asked]
    assert within(sum(t.startswith("#") for t in texts) / count, 0.65, count)
    assert all(TextTask.check(t, task.answer(q)) for t, q in zip(texts, asked, strict=True))

    spoilt = [task.work(q, rng, Corruption(direct=1.0, wrong_step=0.25)) for q in asked]
    wrong = [not TextTask.check(t, task.answer(q)) for t, q in zip(spoilt, asked, strict=True)]
    assert within(sum(wrong) / count, 0.25, count)


def test_no_prompt_is_in_two_splits_or_twice_in_one(task):
    splits = task.splits(MINI_SIZES)
    assert {name: len(split) for name, split in splits.items()} == MINI_SIZES
    prompts = [e.prompt for split in splits.values() for e in split]
    assert len(set(prompts)) == len(prompts)


def test_pre_training_has_thousands_of_questions_that_no_split_holds(task):
    held_out = frozenset(e.prompt for split in task.splits(MINI_SIZES).values() for e in split)
    shown = {prompt for prompt, _ in task.demonstrations(20_000, random.Random(0), CLEAN, held_out)}
    assert len(shown) > 15_000
    assert not shown & held_out


def test_demonstrations_never_show_a_held_out_prompt(task):
    shown = task.demonstrations(300, random.Random(8), CLEAN, frozenset())
    held_out = frozenset(prompt for prompt, _ in shown[::3])
    pairs = task.demonstrations(300, random.Random(8), CLEAN, held_out)
    assert len(pairs) == 300
    assert not {prompt for prompt, _ in pairs} & held_out


def test_splits_are_reproducible_whatever_the_global_random_state(task):
    random.seed(1)
    first = task.splits(SIZES)
    random.seed(2)
    assert task.splits(SIZES) == first
    assert task.splits(SIZES, seed=5) != first


def test_a_larger_training_split_leaves_the_others_as_they_are(task):
    small, large = task.splits(SIZES), task.splits(SIZES | {"train": 3000})
    assert (small["validation"], small["test"]) == (large["validation"], large["test"])
    assert large["train"][:1500] == small["train"]
