"""Alpaca and Dolly, which the paper on instruction-tuning fine-tunes on: 52,002 and 15,011 rows, 67,013 in all.

Both are training sets without a split, so validation and test are carved here, by a hash of the instruction: of the
rows that share an instruction, however often it comes and in whichever set, only the first is kept, so that no
instruction is on two sides. The authors' own split is drawn so that the sides overlap (docs/deviations.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks.datasets.definitions import BadRow
from jfhpo.tasks.datasets.reading import raw_splits
from jfhpo.tasks.datasets.splits import Row, carve, question_key

WITH_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
)
WITHOUT_INPUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:\n"
)
"""The prompts of Stanford's Alpaca, for both sets."""
SHARE = 0.1
"""Of the rows, carved for validation where nothing else is said."""


@dataclass(frozen=True)
class Source:
    """Where a set lies and which of its columns are what."""

    name: str
    hub: str
    instruction: str
    input: str
    response: str
    config: str | None = None
    splits: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({"train": "train"}))

    def read(self, row: Mapping[str, Any]) -> tuple[str, str]:
        """(prompt, response) of a row; `BadRow` for a column that is missing, no text, or empty where it may not be."""
        for column in (self.instruction, self.input, self.response):
            if not isinstance(row.get(column), str):
                raise BadRow(f"column '{column}' must be text; {self.name} has it in every row")
        if not row[self.instruction].strip():
            raise BadRow(f"column '{self.instruction}' is empty")
        template = WITH_INPUT if row[self.input].strip() else WITHOUT_INPUT
        filled = template.format(instruction=row[self.instruction].strip(), input=row[self.input].strip())
        return filled, row[self.response].strip()


SOURCES = {
    s.name: s
    for s in (
        Source("alpaca", "tatsu-lab/alpaca", "instruction", "input", "output"),
        Source("dolly", "databricks/databricks-dolly-15k", "instruction", "context", "response"),
    )
}


@dataclass(frozen=True)
class Carved:
    """Rows by split, and how many of the source's were left out."""

    train: list[Row]
    validation: list[Row]
    rows: int
    """Of the sources, before anything was dropped."""
    repeated: int
    """Rows whose prompt another row had before them."""
    empty: int
    """Rows without a response: there is nothing to learn."""


def sources_of(task: str) -> tuple[Source, ...]:
    """``alpaca_dolly`` -> both; `UsageError` for a name that is not known."""
    parts = task.split("_")
    for part in parts:
        if part not in SOURCES:
            raise unknown("instruction data set", part, SOURCES)
    return tuple(SOURCES[part] for part in parts)


def load(task: str, folders: Mapping[str, str] | None = None, *, share: float = SHARE, seed: int = 0) -> Carved:
    """The rows of `task`, an underscore between the sets' names.

    Args:
        folders: set -> hub name or folder with ``train.jsonl`` (or parquet); the hub's own where it is not named.
        share: of the rows, carved for validation.

    Raises:
        UsageError: what cannot be read, and a row that cannot be used, named by file and line.
    """
    wanted = sources_of(task)
    for name in folders or {}:
        if name not in [source.name for source in wanted]:
            raise unknown("problem.data.folders", name, [source.name for source in wanted])
    if not 0 < share < 1:
        raise UsageError(f"problem.data.share={share} must lie between 0 and 1: that part of the rows is validation")
    kept: dict[str, Row] = {}
    count = empty = 0
    for source in wanted:
        found = raw_splits(source, (folders or {}).get(source.name), None, None)
        if not found.get("train"):
            raise UsageError(f"{source.name} has no rows in its split train")
        for place, raw in found["train"]:
            row = _row(source.read, place, raw, count)
            count += 1
            if not row.answer:
                empty += 1
            else:
                kept.setdefault(question_key(row), row)
    train, validation = carve(list(kept.values()), share, seed)
    return Carved(train, validation, count, count - empty - len(kept), empty)


def _row(read: Callable[[Mapping[str, Any]], tuple[str, str]], place: str, raw: Mapping[str, Any], at: int) -> Row:
    try:
        prompt, response = read(raw)
    except BadRow as error:
        raise UsageError(f"{place}: {error}") from error
    return Row(prompt, response, at)
