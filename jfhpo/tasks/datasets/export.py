"""`Prompts` as verl's parquet files and as TRL's data sets."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.optional import optional
from jfhpo.tasks.datasets.splits import Prompts, Row

SETTINGS = "settings.json"


def verl_row(prompts: Prompts, split: str, row: Row) -> dict[str, Any]:
    """A row in the columns that verl's `RLHFDataset` and reward managers read.

    verl knows prompts as chat messages only: raw text is one message, for a tokenizer whose chat template puts out
    the content as it is (the miniature family's does).
    """
    if row.own is not None:
        return dict(row.own)
    return {
        "data_source": prompts.data_source,
        "prompt": [{"role": "user", "content": row.prompt}],
        "ability": prompts.ability,
        "reward_model": {"style": "rule", "ground_truth": row.answer},
        "extra_info": {"split": split, "index": row.index, **row.notes},
    }


def trl_row(prompts: Prompts, split: str, row: Row) -> dict[str, Any]:
    """A row in the columns that TRL's `GRPOTrainer` and `TrlReward` read."""
    prompt = [{"role": "user", "content": row.prompt}] if prompts.chat else row.prompt
    return {"prompt": prompt, "answer": row.answer, "index": row.index, **row.notes}


def to_verl(prompts: Prompts, folder: Path) -> dict[str, Path]:
    """Write ``train``, ``validation`` and ``test.parquet`` for verl; the files by split."""
    return write_folder(prompts, folder, "verl")


def to_trl(prompts: Prompts) -> dict[str, Any]:
    """A `datasets.Dataset` by split."""
    datasets = optional("datasets", "data", "a TRL data set")
    return {
        split: datasets.Dataset.from_list([trl_row(prompts, split, row) for row in rows])
        for split, rows in prompts.splits.items()
    }


ENGINES: dict[str, Callable[[Prompts, str, Row], dict[str, Any]]] = {"verl": verl_row, "trl": trl_row}


def write_folder(prompts: Prompts, folder: Path, engine: str) -> dict[str, Path]:
    """Write a parquet file per split and ``settings.json``, which says what they were made of.

    Every file appears whole or not at all, and the settings last: a folder that has them is complete.
    """
    if engine not in ENGINES:
        raise unknown("engine", engine, ENGINES)
    pyarrow, parquet = (optional(m, "data", "writing parquet") for m in ("pyarrow", "pyarrow.parquet"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / SETTINGS).unlink(missing_ok=True)
        files = {}
        for split, rows in prompts.splits.items():
            table = pyarrow.Table.from_pylist([ENGINES[engine](prompts, split, row) for row in rows])
            files[split] = folder / f"{split}.parquet"
            _atomically(files[split], lambda aside, table=table: parquet.write_table(table, aside))
        made = {"name": prompts.name, "engine": engine, **prompts.settings}
        made["overlaps"] = {split: asdict(overlap) for split, overlap in prompts.overlaps.items()}
        made["rows"] = {split: len(rows) for split, rows in prompts.splits.items()}
        _atomically(folder / SETTINGS, lambda aside: aside.write_text(json.dumps(made, indent=2) + "\n"))
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}") from error
    return files


def _atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Write aside, fsync, rename."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(aside)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
