"""Last digit, step by step: questions, worked solutions, splits, and an exact reward."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter

import pytest

from jfhpo.tasks import TASKS
from jfhpo.tasks.last_digit import LastDigit
from jfhpo.tasks.text_task import Corruption, Example, TextTask

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


def questions(count: int, seed: int = 0) -> list:
    rng = random.Random(seed)
    return [TASK.draw(rng) for _ in range(count)]


# -- questions and answers


def test_the_independent_evaluator_agrees_with_a_sum_done_by_hand():
    assert evaluate(" 2-4*4-9-8=") == 5  # 2-4=8, 8*4=2, 2-9=3, 3-8=5: the example of the documentation


def test_answers_are_right():
    for question in questions(3000):
        assert TASK.answer(question) == str(evaluate(TASK.prompt(question))), question


def test_every_prompt_has_the_same_width_and_ends_in_the_equals_sign():
    prompts = [TASK.prompt(q) for q in questions(2000)]
    assert {len(p) for p in prompts} == {TASK.prompt_length}
    assert all(re.fullmatch(r" *[1-9]([+*-][1-9]){2,4}=", p) for p in prompts)
    assert {len(re.findall(r"\d", p)) for p in prompts} == {3, 4, 5}


def test_operators_are_drawn_from_two_plus_two_minus_one_times():
    counts = Counter(op for q in questions(4000) for op in q[1::2])
    total = counts.total()
    assert counts["+"] / total == pytest.approx(0.4, abs=0.02)
    assert counts["-"] / total == pytest.approx(0.4, abs=0.02)
    assert counts["*"] / total == pytest.approx(0.2, abs=0.02)


def test_the_commonest_answer_does_not_pay():
    counts = Counter(TASK.answer(q) for q in questions(20_000))
    assert len(counts) == 10
    assert counts.most_common(1)[0][1] / 20_000 < 0.15


def test_every_character_is_in_the_alphabet():
    rng = random.Random(0)
    text = "".join(TASK.prompt(q) + TASK.work(q, rng, Corruption(0.3, 0.3)) for q in questions(500))
    assert set(text) <= set(TASK.alphabet)
    assert len(set(TASK.alphabet)) == len(TASK.alphabet)


# -- worked solutions


def test_clean_work_follows_the_question_and_every_step_of_it_is_right():
    rng = random.Random(1)
    for question in questions(1500):
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


def test_the_longest_solution_and_its_end_of_sequence_just_fit_the_completion_length():
    rng = random.Random(0)
    lengths = {len(TASK.work(q, rng, Corruption(0.2, 0.2))) + 1 for q in questions(1000)}
    assert max(lengths) == TASK.completion_length


def within(share: float, wanted: float, count: int) -> bool:
    """Inside 4 standard errors of a binomial share: once in 16,000 by chance, and the seed is fixed."""
    return abs(share - wanted) < 4 * (wanted * (1 - wanted) / count) ** 0.5


def wrong_steps(text: str) -> list[bool]:
    return [int(c) != evaluate(f"{a}{op}{b}=") for a, op, b, c in STEP.findall(text)]


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.6])
def test_steps_are_wrong_as_often_as_asked_and_later_steps_go_on_from_the_wrong_result(rate):
    rng, seen = random.Random(2), []
    for question in questions(1500):
        text = TASK.work(question, rng, Corruption(wrong_step=rate))
        work, _, answer = text.partition("#")
        steps = [STEP.fullmatch(s).groups() for s in work.split(",")]
        assert [s[0] for s in steps[1:]] == [s[3] for s in steps[:-1]], "the next step continues the last result"
        assert answer == steps[-1][3]
        seen += wrong_steps(text)
    assert within(sum(seen) / len(seen), rate, len(seen))


def test_a_wrong_result_is_each_other_digit_alike():
    rng, errors = random.Random(3), Counter()
    for question in questions(1500):
        for a, op, b, c in STEP.findall(TASK.work(question, rng, Corruption(wrong_step=1.0))):
            errors[(int(c) - evaluate(f"{a}{op}{b}=")) % 10] += 1
    assert 0 not in errors
    assert all(within(errors[d] / errors.total(), 1 / 9, errors.total()) for d in range(1, 10))


def test_direct_answers_come_as_often_as_asked_and_are_right_unless_spoilt():
    rng, count = random.Random(4), 2000
    asked = questions(count)
    texts = [TASK.work(q, rng, Corruption(direct=0.65)) for q in asked]
    direct = [t.startswith("#") for t in texts]
    assert within(sum(direct) / count, 0.65, count)
    assert all(TextTask.check(t, TASK.answer(q)) for t, q in zip(texts, asked, strict=True))

    spoilt = [TASK.work(q, rng, Corruption(direct=1.0, wrong_step=0.25)) for q in asked]
    wrong = [not TextTask.check(t, TASK.answer(q)) for t, q in zip(spoilt, asked, strict=True)]
    assert within(sum(wrong) / count, 0.25, count)


# -- splits


def test_no_prompt_is_in_two_splits_or_twice_in_one():
    splits = TASK.splits(SIZES)
    assert {name: len(split) for name, split in splits.items()} == SIZES
    prompts = [e.prompt for split in splits.values() for e in split]
    assert len(set(prompts)) == len(prompts)


def test_splits_are_reproducible_whatever_the_global_random_state():
    random.seed(1)
    first = TASK.splits(SIZES)
    random.seed(2)
    assert TASK.splits(SIZES) == first
    assert TASK.splits(SIZES, seed=5) != first


def test_a_larger_training_split_leaves_the_others_as_they_are():
    small, large = TASK.splits(SIZES), TASK.splits(SIZES | {"train": 3000})
    assert (small["validation"], small["test"]) == (large["validation"], large["test"])
    assert large["train"][:1500] == small["train"]


def test_examples_carry_the_right_answer():
    for example in itertools.chain(*TASK.splits(SIZES).values()):
        assert example == Example(example.prompt, str(evaluate(example.prompt)))


def test_demonstrations_never_show_a_held_out_prompt():
    shown = TASK.demonstrations(300, random.Random(8), CLEAN, frozenset())
    held_out = frozenset(prompt for prompt, _ in shown[::3])
    pairs = TASK.demonstrations(300, random.Random(8), CLEAN, held_out)
    assert len(pairs) == 300
    assert not {prompt for prompt, _ in pairs} & held_out


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


def test_the_task_is_found_by_its_name():
    assert isinstance(TASKS["last_digit"], LastDigit)
