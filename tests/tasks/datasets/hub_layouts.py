"""Small data sets in the hub's own columns, and the files that the tests make of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Rows = Sequence[Mapping[str, Any]]


def gsm8k(count: int, first: int = 0) -> list[dict]:
    return [
        {
            "question": f"Ann has {n} apples and buys 2 more. How many has she?",
            "answer": f"She has {n} + 2 = <<{n}+2={n + 2}>>{n + 2} apples.\n#### {n + 2:,}",
        }
        for n in range(first, first + count)
    ]


def math(count: int, first: int = 0) -> list[dict]:
    return [
        {
            "problem": f"What is half of ${n}$?",
            "level": f"Level {n % 5 + 1}",
            "solution": f"We halve it: not $\\boxed{{{n}}}$ but $\\boxed{{\\frac{{{n}}}{{2}}}}$.",
            "type": "Prealgebra",
        }
        for n in range(first, first + count)
    ]


def openbookqa(count: int, first: int = 0) -> list[dict]:
    return [
        {
            "id": f"7-{n}",
            "question_stem": f"Which of these is number {n}?",
            "choices": {"text": [str(n + k) for k in range(-2, 2)], "label": ["A", "B", "C", "D"]},
            "answerKey": "C",
        }
        for n in range(first, first + count)
    ]


def mmlu(count: int, first: int = 0) -> list[dict]:
    return [
        {
            "question": f"What comes after {n}?",
            "subject": "elementary_mathematics",
            "choices": [str(n + 1), str(n), str(n + 3), str(n + 4)],
            "answer": 0,
        }
        for n in range(first, first + count)
    ]


ROWS = {"gsm8k": gsm8k, "math": math, "openbookqa": openbookqa, "mmlu": mmlu}
HUB_SPLITS = {
    "gsm8k": {"train": 40, "test": 10},
    "math": {"train": 40, "test": 10},
    "openbookqa": {"train": 40, "validation": 10, "test": 10},
    "mmlu": {"auxiliary_train": 40, "dev": 5, "validation": 10, "test": 10},
}


def splits_of(name: str) -> dict[str, list[dict]]:
    """The hub's splits of a data set, with no question in two of them."""
    out, first = {}, 3
    for split, count in HUB_SPLITS[name].items():
        out[split] = ROWS[name](count, first)
        first += count
    return out


def write_jsonl(path: Path, rows: Rows) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_parquet(path: Path, rows: Rows) -> Path:
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), path)
    return path


def folder_of(name: str, folder: Path, splits: Mapping[str, Rows] | None = None) -> Path:
    """A folder with a JSON Lines file per split."""
    for split, rows in (splits or splits_of(name)).items():
        write_jsonl(folder / f"{split}.jsonl", rows)
    return folder
