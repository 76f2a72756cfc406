"""A user's own prompts: the rows of their files or hub data sets as they are, checked, and split where asked.

A row stays what the user's job reads: columns for TRL's `GRPOTrainer` and its reward functions (``prompt``, and
whatever the reward wants), or verl's (``prompt`` as messages, ``data_source``, ``reward_model.ground_truth``). The
search looks at validation only, so there has to be one: a file, or a share carved from train by a hash of prompt and
seed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.tasks.datasets.reading import SUFFIXES, Placed, hub_rows, rows_of
from jfhpo.tasks.datasets.splits import Prompts, Row, carve_by

OWN = "own"
"""``problem.task`` of a user's own data."""


@dataclass(frozen=True)
class OwnData:
    splits: Mapping[str, list[Mapping[str, Any]]]
    """train, validation and test. Without rows for a test, those of validation."""
    tested: bool
    """Whether there are rows for a test."""
    shared: int
    """Training prompts that are also in validation or test: left in, since the data are the user's."""


def read_own(
    engine: str,
    train: str,
    validation: str | None = None,
    test: str | None = None,
    share: float | None = None,
    seed: int = 0,
    columns: Sequence[str] = (),
) -> OwnData:
    """Read and check a user's rows.

    Args:
        engine: ``trl`` or ``verl``: whose columns a row must have.
        train, validation, test: a file (JSON Lines or parquet), or ``owner/name`` or ``owner/name:split`` on the hub.
        share: of the training rows that become validation, where no `validation` is given.
        columns: more columns that a row must have.

    Raises:
        UsageError: what cannot be read; a row without a column, named by file, line and column; no validation.
    """
    if engine not in CHECKS:
        raise unknown("engine", engine, CHECKS)
    if validation is None and share is None:
        raise UsageError(
            f"data: {train} comes without a validation split, and the search may look at nothing else; name one "
            "(validation: <file>) or a share of train (validation_share: 0.1)"
        )
    if validation is not None and share is not None:
        raise UsageError(f"data: validation={validation} and validation_share={share} are both given; keep one")
    if share is not None and not 0 < share < 1:
        raise UsageError(f"data: validation_share={share} must lie between 0 and 1")
    named = {"train": train, "validation": validation, "test": test}
    rows = {split: _read(source, split) for split, source in named.items() if source is not None}
    for placed in rows.values():
        _check(placed, engine, columns)
    found: dict[str, list[Mapping[str, Any]]] = {split: [row for _, row in placed] for split, placed in rows.items()}
    if share is not None:
        found["train"], found["validation"] = carve_by(found["train"], share, seed, prompt_key)
        if empty := [split for split in ("train", "validation") if not found[split]]:
            raise UsageError(
                f"data: validation_share={share} of the {len(rows['train'])} rows of {train} leaves {empty[0]} empty"
            )
    held_out = {prompt_key(row) for split in found if split != "train" for row in found[split]}
    shared = sum(prompt_key(row) in held_out for row in found["train"])
    tested = "test" in found
    return OwnData({**found, "test": found["test"] if tested else found["validation"]}, tested, shared)


def prompts_of(data: OwnData) -> Prompts:
    """A user's rows for verl where prompts of ours are taken; they go out as they came in."""
    splits = {
        split: [Row(prompt_key(row), "", at, own=row) for at, row in enumerate(rows)]
        for split, rows in data.splits.items()
    }
    return Prompts(OWN, OWN, OWN, True, splits, {})


def without_reward(data: Mapping[str, Any]) -> dict[str, Any]:
    """``problem.data`` of the task ``own`` as `read_own` takes it."""
    return {name: value for name, value in data.items() if name != "reward"}


def prompt_key(row: Mapping[str, Any]) -> str:
    """Equal for prompts that differ in case and white space only."""
    prompt = row["prompt"]
    text = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return " ".join(text.split()).casefold()


def _read(source: str, split: str) -> list[Placed]:
    path = Path(source)
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise UsageError(f"data.{split}: no file {source}")
        placed = rows_of([path])
    else:
        name, _, wanted = source.partition(":")
        if path.exists() or name.count("/") != 1:
            raise UsageError(f"data.{split}={source} must be a file ({', '.join(SUFFIXES)}) or owner/name of the hub")
        placed = hub_rows(name, wanted or split)
    if not placed:
        raise UsageError(f"data.{split}: {source} holds no row")
    return placed


def _check(placed: Sequence[Placed], engine: str, columns: Sequence[str]) -> None:
    first = placed[0][1]
    for place, row in placed:
        for column in dict.fromkeys([*CHECKS[engine], *columns, *first]):
            if column not in row:
                raise UsageError(f"{place}: no column '{column}'; it has {', '.join(row) or 'none'}")
        for column, check in CHECKS[engine].items():
            if wanted := check(row[column]):
                raise UsageError(f"{place}: column '{column}' must be {wanted}, not {_short(row[column])}")
        if isinstance(row["prompt"], str) != isinstance(first["prompt"], str):
            raise UsageError(f"{place}: column 'prompt' is text in some rows and messages in others; keep one kind")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _messages(value: Any) -> str | None:
    good = isinstance(value, list) and value
    if good and all(isinstance(m, Mapping) and isinstance(m.get("role"), str) and "content" in m for m in value):
        return None
    return "messages, [{role, content}, …]"


def _text_or_messages(value: Any) -> str | None:
    if isinstance(value, str):
        return None if value.strip() else "text that is not empty"
    return None if _messages(value) is None else "text or messages, [{role, content}, …]"


def _text(value: Any) -> str | None:
    return None if isinstance(value, str) and value else "text"


def _ground_truth(value: Any) -> str | None:
    return None if isinstance(value, Mapping) and "ground_truth" in value else "a mapping with ground_truth"


CHECKS: Mapping[str, Mapping[str, Callable[[Any], str | None]]] = {
    "trl": {"prompt": _text_or_messages},
    "verl": {"prompt": _messages, "data_source": _text, "reward_model": _ground_truth},
}
"""Engine -> column -> what it must be, where a value is not that."""
