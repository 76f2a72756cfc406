"""`load`: a data set as train, validation and test prompts that share no question.

The search looks at validation only, so validation is never taken from the test split: it is the data set's own, or
carved from train. A training question that is also a question of the test or the validation split is dropped, and so
is one that comes twice in train. Test is left as published.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks import TASKS
from jfhpo.tasks.datasets.definitions import DATASETS, BadRow, Definition, check_row
from jfhpo.tasks.datasets.reading import Placed, raw_splits

R = TypeVar("R")
SPLITS = ("train", "validation", "test")
SHARE = 0.1
"""Of the training questions, carved for validation where nothing else is said."""
GENERATED = "jfhpo/"
"""Before a generated task's name: its `data_source`."""
GENERATED_SIZES = {"train": 4096, "validation": 512, "test": 512}
"""Those of the miniature trainer: with `GENERATED_SEED` the very same questions."""
GENERATED_SEED = 1234


@dataclass(frozen=True)
class Row:
    prompt: str
    answer: str
    """The right answer, as the reward wants it."""
    index: int
    """Place in the split of the source that it comes from, from 0."""
    notes: Mapping[str, str] = field(default_factory=dict)
    """What results are broken down by: MATH's level and type, MMLU's subject."""
    own: Mapping[str, Any] | None = None
    """A user's own row in verl's columns, which goes out as it came in (`jfhpo.tasks.datasets.own`)."""


@dataclass(frozen=True)
class Overlap:
    """Questions of a split that come more than once."""

    repeated: int = 0
    """Times a question came again within the split: dropped, but kept in test."""
    held_out: int = 0
    """Questions that are also in test (or, of train, in validation): dropped."""


@dataclass(frozen=True)
class Prompts:
    name: str
    data_source: str
    """verl's: says by which rules answers are checked."""
    ability: str
    chat: bool
    """Whether a prompt is a user's message, or raw text for a model without chat template."""
    splits: Mapping[str, list[Row]]
    overlaps: Mapping[str, Overlap]
    settings: Mapping[str, object] = field(default_factory=dict)
    """What `load` was told."""


def names() -> list[str]:
    """Everything that `load` knows."""
    return sorted([*DATASETS, *TASKS])


def load(
    name: str,
    source: str | None = None,
    *,
    config: str | None = None,
    test: str | None = None,
    validation: str | None = None,
    share: float | None = None,
    seed: int | None = None,
) -> Prompts:
    """Prompts and right answers of a data set or a generated task.

    Args:
        name: one of `names`.
        source: hub name, folder, or file of training rows (JSON Lines or parquet); None: the hub.
        config: the hub's configuration; None: the data set's usual one.
        test: file of test rows, where `source` is a file.
        validation: ``own`` (the data set's) or ``carved`` (from train); None: own for the data sets that have one.
        share: of the training questions, carved for validation (0.1 where None).
        seed: of the carving (0 where None), or of a generated task (1234 where None, the miniature trainer's).

    Raises:
        UsageError: what cannot be read, a row that cannot be used (named by file and line), a split that is missing.
    """
    if name in TASKS:
        if any(given is not None for given in (source, config, test, validation, share)):
            raise UsageError(f"{name} is generated: it takes a seed, but no source, config, test, validation or share")
        return _generated(name, GENERATED_SEED if seed is None else seed)
    if name not in DATASETS:
        raise unknown("data set", name, names())
    definition, seed = DATASETS[name], seed or 0
    how = _how_validated(definition, validation, share)
    share = SHARE if share is None else share
    raw = raw_splits(definition, source, config, test)
    needed = [s for s in SPLITS if s != "validation" or how == "own"]
    for split in needed:
        if split not in raw:
            raise _missing(definition, split, source, sorted(raw))
        if not raw[split]:
            raise UsageError(f"split {split} of {name} from {source or definition.hub} is empty")
    rows = {split: _read(definition, raw[split]) for split in needed}
    rows, overlaps = _disjoint(rows)
    if how == "carved":
        rows["train"], rows["validation"] = carve(rows["train"], share, seed)
    if empty := [split for split in SPLITS if not rows[split]]:
        raise UsageError(
            f"split {empty[0]} of {name} is left without a question: {len(raw['train'])} rows in train"
            + (f", share={share}" if how == "carved" else "")
        )
    settings = {"source": source or definition.hub, "config": config or definition.config, "validation": how}
    settings |= {"share": share, "seed": seed} if how == "carved" else {}
    return Prompts(name, definition.hub, definition.ability, True, {s: rows[s] for s in SPLITS}, overlaps, settings)


def _generated(name: str, seed: int) -> Prompts:
    drawn = TASKS[name].splits(GENERATED_SIZES, seed)
    splits = {s: [Row(e.prompt, e.answer, i) for i, e in enumerate(drawn[s])] for s in SPLITS}
    return Prompts(name, f"{GENERATED}{name}", "reasoning", False, splits, {}, {"seed": seed})


def _how_validated(definition: Definition, validation: str | None, share: float | None) -> str:
    how = validation or ("own" if "validation" in definition.splits else "carved")
    if how not in ("own", "carved"):
        raise unknown("validation", how, ("own", "carved"))
    if how == "own" and share is not None:
        raise UsageError(f"share={share} is for validation=carved; {definition.name} is told to use its own")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"share={share} must lie between 0 and 1: that part of train becomes validation")
    return how


def _missing(definition: Definition, split: str, source: str | None, found: list[str]) -> UsageError:
    where = source or definition.hub
    advice = "; carve one from train with validation=carved" if split == "validation" else ""
    return UsageError(f"{definition.name} from {where} has no split {split} (found: {', '.join(found)}){advice}")


def _read(definition: Definition, placed: Iterable[Placed]) -> list[Row]:
    rows = []
    for index, (place, raw) in enumerate(placed):
        try:
            check_row(definition, raw)
            question, answer = definition.read(raw)
        except BadRow as error:
            raise UsageError(f"{place}: {error}") from error
        notes = {column: str(raw[column]) for column in definition.kept}
        rows.append(Row(question + definition.instruction, answer, index, notes))
    return rows


def question_key(row: Row) -> str:
    """Equal for questions that differ in case and white space only."""
    return " ".join(row.prompt.split()).casefold()


def _disjoint(rows: Mapping[str, list[Row]]) -> tuple[dict[str, list[Row]], dict[str, Overlap]]:
    """The splits without what they share, test going before validation before train, and what was found."""
    held_out: set[str] = set()
    out, overlaps = {}, {}
    for split in ("test", "validation", "train"):
        if split not in rows:
            continue
        first: dict[str, Row] = {}
        for row in rows[split]:
            first.setdefault(question_key(row), row)
        kept = [row for key, row in first.items() if key not in held_out]
        out[split] = rows[split] if split == "test" else kept
        overlaps[split] = Overlap(len(rows[split]) - len(first), len(first) - len(kept))
        held_out |= set(first)
    return out, overlaps


def carve(rows: list[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """(train, validation) of a data set's questions: `carve_by` their `question_key`."""
    return carve_by(rows, share, seed, question_key)


def carve_by(rows: list[R], share: float, seed: int, key: Callable[[R], str]) -> tuple[list[R], list[R]]:
    """(train, validation): the `share` of rows whose key hashes lowest under `seed`, in their order.

    By hash and not by position, so that a row added or dropped elsewhere moves few others between the two.
    """

    def rank(at: int) -> bytes:
        return hashlib.sha256(f"{seed}\n{key(rows[at])}".encode()).digest()

    carved = set(sorted(range(len(rows)), key=rank)[: round(share * len(rows))])
    validation = [row for at, row in enumerate(rows) if at in carved]
    return [row for at, row in enumerate(rows) if at not in carved], validation
