"""Where an answer is read from, case by case: numbers after the mark, letters, and boxes."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest

from jfhpo.tasks.datasets import reward
from jfhpo.tasks.datasets.answers import LONGEST_BOX, LOOKED_AT, last_box, letter, number

NUMBERS = [
    ("so it is 18.\n#### 18", 18),
    ("####18", 18),
    ("#### 18.", 18),
    ("#### 18.00", 18),
    ("#### -7", -7),
    ("#### −7", -7),  # the minus sign U+2212
    ("#### 1,234,567", 1234567),
    ("#### 1234567", 1234567),
    ("#### 1,5", None),  # a comma that separates no thousands
    ("#### 12,34", None),
    ("#### 1,000,5", None),
    ("#### $18", 18),
    ("#### \\$18", 18),
    ("#### -$18", -18),
    ("#### $-18", -18),
    ("#### $ 18.50", Fraction(37, 2)),
    ("#### 18 dollars", 18),
    ("#### 18%", 18),
    ("#### 18-inch", 18),
    ("#### .5", Fraction(1, 2)),
    ("#### 0.5 hours", Fraction(1, 2)),
    ("#### 1/2", Fraction(1, 2)),
    ("#### -3/4 cups", Fraction(-3, 4)),
    ("#### 1/0", None),
    ("#### 3 x 4 = 12", None),
    ("#### 12 = 3 x 4", None),
    ("#### 3+4", None),
    ("#### 1.2.3", None),
    ("#### 18 or 19", None),
    ("#### x = 18", None),
    ("#### eighteen", None),
    ("#### 4\nno, wait\n#### 5", 5),  # the last mark counts
    ("#### 4 ####", 4),  # a mark with nothing behind it does not
    ("#### 4\n####\n", 4),
    ("#### 4\n#### I am not sure", None),
    ("#### 4\nThat makes 12 in all.", 4),  # only the mark's own line
    ("####\n4", None),
    ("### 4", None),
    ("the answer is 18", None),
    ("", None),
    ("####", None),
    ("#### " + "9" * 250, int("9" * 250)),
    ("#### 18" + " " * LOOKED_AT, None),  # the mark is out of sight
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_a_number_is_read_after_the_last_mark(text, value):
    assert number(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("the answer is 18.", 18),
        ("from 3-5 it is -2", -2),
        ("3-5", 5),  # a dash between two numbers is no sign
        ("it costs $1,250.50 in all", Fraction("1250.5")),
        ("4 of them, so #### 5", 5),
        ("12 and #### not sure", None),  # there is a mark, and it has the say
        ("none", None),
        ("2nd of 3rd", 3),
    ],
)
def test_flexible_takes_the_last_number_where_there_is_no_mark(text, value):
    assert number(text, "flexible") == value
    if "####" not in text:
        assert number(text) is None


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *[(f"#### {shape}", "B") for shape in ("B", "b", "B.", "(B)", "B)", "[B]", "**B**", "$B$", "\\boxed{B}", "B:")],
        ("####B", "B"),
        ("#### B. a dog or a cat", "B"),
        ("#### (B) A dog", "B"),
        ("#### \\boxed{\\text{B}}", "B"),
        ("#### B or C", None),
        ("#### B, C", None),
        ("#### A dog", None),  # the article
        ("#### BC", None),
        ("#### E", None),
        ("#### dog", None),
        ("A. one\nB. two\n#### A\nno:\n#### C", "C"),
        ("the answer is B", None),
        ("", None),
    ],
)
def test_a_letter_is_read_after_the_last_mark(text, found):
    assert letter(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The answer is B", "B"),
        ("The answer is (C).", "C"),
        ("Answer: **D**", "D"),
        ("so \\boxed{A}", "A"),
        ("option A is wrong, the answer is C because D is not", "C"),
        ("The answer is A's brother", None),
        ("The answer is Dog", None),
        ("A dog", None),
        ("The answer is B\n#### C", "C"),
    ],
)
def test_flexible_takes_a_letter_that_is_said_to_be_the_answer(text, found):
    assert letter(text, "flexible") == found


@pytest.mark.parametrize(
    ("text", "held"),
    [
        ("\\boxed{5}", "5"),
        ("so $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("\\boxed{3}, no: \\boxed{4}", "4"),
        ("\\boxed{6 \\boxed{5}}", "5"),
        ("\\boxed{\\left\\{1,2\\right.}", "\\left\\{1,2\\right."),
        ("\\boxed{ 5 }", "5"),
        ("\\fbox{5}", "5"),
        ("$\\boxed 5$ it is", "5"),
        ("\\boxed 5", "5"),
        ("\\boxed{5", None),
        ("\\boxed{4}, no: \\boxed{5", None),  # cut off while it changed its mind
        ("\\boxed{}", None),
        ("\\boxed", None),
        ("\\boxedx", None),
        ("5", None),
        ("\\boxed{" + "1" * LONGEST_BOX + "}", "1" * LONGEST_BOX),
        ("\\boxed{" + "1" * (LONGEST_BOX + 1) + "}", None),
    ],
)
def test_the_last_box_is_read(text, held):
    assert last_box(text) == held


TEN_MB = 10_000_000


@pytest.mark.parametrize(
    "text",
    [
        "1" * TEN_MB,
        "#" * TEN_MB,
        "#### " * (TEN_MB // 5),
        "1,234," * (TEN_MB // 6),
        "-" * TEN_MB,
        "\\boxed{" * (TEN_MB // 7),
        "\\boxed{" + "{" * TEN_MB,
        "\\boxed{" + "7" * TEN_MB + "}",
        "The answer is " * (TEN_MB // 14),
    ],
    ids=lambda text: text[:12],
)
@pytest.mark.parametrize("extraction", ["strict", "flexible"])
def test_ten_megabytes_are_wrong_and_cost_nothing(text, extraction):
    began = time.process_time()
    assert reward("gsm8k", text, "5", extraction) == 0.0
    assert reward("mmlu", text, "A", extraction) == 0.0
    assert reward("sorting", text, "12345") == 0.0
    assert last_box(text) is None
    assert time.process_time() - began < 0.5


def test_the_right_answer_at_the_end_of_ten_megabytes_counts():
    assert reward("gsm8k", "thinking " * 1_000_000 + "\n#### 5", "5") == 1.0
    assert reward("mmlu", "thinking " * 1_000_000 + "\n#### A", "A") == 1.0
    assert reward("math", "thinking " * 1_000_000 + "\\boxed{5}", "5") == 1.0
