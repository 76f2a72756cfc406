"""The data sets of the paper: where each lies, what its rows hold, how it asks and when an answer is right.

Prompts of GSM8K and MATH are verl's own (`examples/data_preprocess/{gsm8k,math_dataset}.py`); verl has none for
multiple choice, and those ask in GSM8K's words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jfhpo.core.errors import unknown
from jfhpo.tasks.datasets import answers
from jfhpo.tasks.datasets.math_check import math_right

EXTRACTIONS = ("strict", "flexible")
"""Where an answer is looked for: only where the prompt asks for it, or anywhere near the end."""


class BadRow(ValueError):
    """A row that cannot be used; the reader knows which one it is, and adds it to the message."""


@dataclass(frozen=True)
class Definition:
    name: str
    hub: str
    """Its name on the Hugging Face hub, and verl's `data_source`."""
    config: str | None
    """The hub's configuration (subset)."""
    splits: Mapping[str, str]
    """train, test and, where the data set has one of its own, validation -> the hub's name of it."""
    columns: tuple[str, ...]
    """The columns that a row must have."""
    ability: str
    """verl's column of that name."""
    instruction: str
    """Follows the question; begins with a space, or a line break in multiple choice."""
    read: Callable[[Mapping[str, Any]], tuple[str, str]]
    """A row -> the question as it is shown, and the right answer as the reward wants it. Raises `BadRow`."""
    right: Callable[..., bool]
    """(completion, right answer, extraction) -> whether it is answered right."""
    kept: tuple[str, ...] = ()
    """Columns that results are broken down by."""


def _text(row: Mapping[str, Any], column: str) -> str:
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"column '{column}' must be text that is not empty, not {_short(value)}")
    return value


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _read_gsm8k(row: Mapping[str, Any]) -> tuple[str, str]:
    answer = _text(row, "answer")
    given = answers.after_mark(answer)
    if given is None or answers.number(answer) is None:
        raise BadRow(f"column 'answer' must end in '#### <number>', not {_short(answer[-40:])}")
    return _text(row, "question"), given.replace(",", "")


def _right_number(completion: str, gold: str, extraction: str) -> bool:
    given = answers.number(completion, extraction)
    return given is not None and given == answers.number(f"{answers.MARK} {gold}")


def _read_math(row: Mapping[str, Any]) -> tuple[str, str]:
    solution = _text(row, "solution")
    if (gold := answers.last_box(solution)) is None:
        raise BadRow(f"column 'solution' must hold the answer as \\boxed{{...}}, not {_short(solution[-40:])}")
    return _text(row, "problem"), gold


def _choices(question: str, options: Sequence[Any], right: int) -> tuple[str, str]:
    """The question with its options on lines of their own, and the right one's letter."""
    lines = [f"{letter}. {option}" for letter, option in zip(answers.LETTERS, options, strict=True)]
    return "\n".join([question, *lines]), answers.LETTERS[right]


def _four(options: object, column: str) -> list[str]:
    four = isinstance(options, list) and len(options) == len(answers.LETTERS)
    if not four or not all(isinstance(option, str) for option in options):
        raise BadRow(f"column '{column}' must hold 4 texts, not {_short(options)}")
    return options


def _read_openbookqa(row: Mapping[str, Any]) -> tuple[str, str]:
    choices, key = row["choices"], row["answerKey"]
    if not isinstance(choices, Mapping) or not {"text", "label"} <= set(choices):
        raise BadRow(f"column 'choices' must hold 'text' and 'label', not {_short(choices)}")
    labels = _four(choices["label"], "choices.label")
    if key not in labels:
        raise BadRow(f"column 'answerKey' must be one of {', '.join(labels)}, not {_short(key)}")
    return _choices(_text(row, "question_stem"), _four(choices["text"], "choices.text"), labels.index(key))


def _read_mmlu(row: Mapping[str, Any]) -> tuple[str, str]:
    answer = row["answer"]
    if isinstance(answer, bool) or not isinstance(answer, int) or not 0 <= answer < len(answers.LETTERS):
        raise BadRow(f"column 'answer' must be 0, 1, 2 or 3, not {_short(answer)}")
    return _choices(_text(row, "question"), _four(row["choices"], "choices"), answer)


def _right_letter(completion: str, gold: str, extraction: str) -> bool:
    return answers.letter(completion, extraction) == gold


_LETTER_ASKED = 'Let\'s think step by step and output the letter of the final answer after "####".'

DATASETS: dict[str, Definition] = {
    d.name: d
    for d in (
        Definition(
            name="gsm8k",
            hub="openai/gsm8k",
            config="main",
            splits={"train": "train", "test": "test"},
            columns=("question", "answer"),
            ability="math",
            instruction=' Let\'s think step by step and output the final answer after "####".',
            read=_read_gsm8k,
            right=_right_number,
        ),
        Definition(
            name="math",
            hub="DigitalLearningGmbH/MATH-lighteval",
            config=None,
            splits={"train": "train", "test": "test"},
            columns=("problem", "solution", "level", "type"),
            ability="math",
            instruction=" Let's think step by step and output the final answer within \\boxed{}.",
            read=_read_math,
            right=math_right,
            kept=("level", "type"),
        ),
        Definition(
            name="openbookqa",
            hub="allenai/openbookqa",
            config="main",
            splits={"train": "train", "validation": "validation", "test": "test"},
            columns=("question_stem", "choices", "answerKey"),
            ability="science",
            instruction=f"\n{_LETTER_ASKED}",
            read=_read_openbookqa,
            right=_right_letter,
        ),
        Definition(
            name="mmlu",
            hub="cais/mmlu",
            config="all",
            splits={"train": "auxiliary_train", "validation": "validation", "test": "test"},
            columns=("question", "choices", "answer", "subject"),
            ability="knowledge",
            instruction=f"\n{_LETTER_ASKED}",
            read=_read_mmlu,
            right=_right_letter,
            kept=("subject",),
        ),
    )
}


def check_extraction(extraction: str) -> None:
    if extraction not in EXTRACTIONS:
        raise unknown("extraction", extraction, EXTRACTIONS)


def check_row(definition: Definition, row: Mapping[str, Any]) -> None:
    """A `BadRow` where a column is missing."""
    if missing := [column for column in definition.columns if column not in row]:
        raise BadRow(f"no column '{missing[0]}'; {definition.name} needs {', '.join(definition.columns)}")
