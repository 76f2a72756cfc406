"""Words on the command line: read alike everywhere, and refused in one line that says what to write."""

from __future__ import annotations

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.words import key_value, settings, several

DEFAULTS = {"out": "results", "curves": ""}


def test_words_go_over_the_defaults_and_the_last_one_counts():
    assert settings(["curves=a", "out=x=y", "curves=b"], DEFAULTS) == {"out": "x=y", "curves": "b"}
    assert settings([], {"out": "results"}) == {"out": "results"}
    assert DEFAULTS == {"out": "results", "curves": ""}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["outt=x"], "unknown setting 'outt' (did you mean 'out'?); valid: curves, out"),
        (["out"], "'out' is not key=value; for example out=results"),
        (["curves"], "'curves' is not key=value; for example curves=runs"),
        (["curves=runs", "out="], "out= needs a value; for example out=results"),
        ([], "curves= needs a value; for example curves=runs"),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(words, said):
    with pytest.raises(UsageError) as error:
        settings(words, DEFAULTS, {"curves": "runs"})
    assert str(error.value) == said


def test_a_word_has_two_sides_and_the_second_may_be_anything():
    assert key_value("a.b=[1,2]=", "x=1") == ("a.b", "[1,2]=")
    assert key_value("a=", "x=1") == ("a", "")
    with pytest.raises(UsageError, match="'a' is not key=value; for example x=1"):
        key_value("a", "x=1")


@pytest.mark.parametrize(
    ("value", "items"),
    [
        ("a", ["a"]),
        ("[a, b]", ["a", "b"]),
        ("0..3", ["0", "1", "2", "3"]),
        ("[7,0..1]", ["7", "0", "1"]),
        ("3..1", []),
        ("a..b", ["a..b"]),
        ("[]", []),
    ],
)
def test_several_items_may_be_listed_and_numbers_spanned(value, items):
    assert several(value) == items
