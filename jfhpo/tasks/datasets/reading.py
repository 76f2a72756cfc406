"""Raw rows from the Hugging Face hub, from a folder or from single files, each with the place it came from.

Local files are read here and not by `datasets`, so that a mistake in one of them can be told by file and line, and so
that nothing is copied into a cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from jfhpo.core.errors import UsageError
from jfhpo.core.optional import optional

SUFFIXES = (".jsonl", ".json", ".parquet")
"""JSON Lines under either name, or parquet."""
Placed = tuple[str, Mapping[str, Any]]
"""(``train.jsonl, line 3``, the row)."""


class Definition(Protocol):
    """What the reader has to know of a data set."""

    name: str
    hub: str
    config: str | None
    splits: Mapping[str, str]


def raw_splits(
    definition: Definition, source: str | None, config: str | None, test: str | None
) -> dict[str, list[Placed]]:
    """Our name of each split that is there -> its rows.

    `source`: a name on the hub (the definition's where it is None), a folder, or a file of training rows, for which
    `test` names the file of test rows. A folder may be laid out as on the hub (shards, ``<config>/`` or ``data/``).
    """
    if test is not None and (source is None or not Path(source).is_file()):
        raise UsageError(f"--test {test} belongs to a --source that is a file of training rows, not to {source}")
    if source is None:
        return _from_hub(definition, definition.hub, config or definition.config)
    path = Path(source).expanduser()
    if path.is_dir():
        return _from_folder(definition, path, config or definition.config)
    if path.exists():
        if test is None:
            raise UsageError(f"{path} is one file and holds training rows: name a file of test rows too (--test)")
        return {"train": rows_of([path]), "test": rows_of([Path(test).expanduser()])}
    if source.count("/") == 1 and not source.startswith((".", "/", "~")) and path.suffix not in SUFFIXES:
        return _from_hub(definition, source, config or (definition.config if source == definition.hub else None))
    raise UsageError(f"no file or folder {source}, and a name on the hub is owner/name, like {definition.hub}")


def _from_hub(definition: Definition, name: str, config: str | None) -> dict[str, list[Placed]]:
    loaded = _loaded(name, config)
    return {
        ours: _placed(name, theirs, loaded[theirs]) for ours, theirs in definition.splits.items() if theirs in loaded
    }


def hub_rows(name: str, split: str) -> list[Placed]:
    """The rows of one split on the hub."""
    loaded = _loaded(name, None)
    if split not in loaded:
        raise UsageError(f"{name} on the hub has no split {split}; it has {', '.join(loaded)}; write {name}:<split>")
    return _placed(name, split, loaded[split])


def _placed(name: str, split: str, rows: Iterable[Mapping[str, Any]]) -> list[Placed]:
    return [(f"{name}, {split}, row {n}", row) for n, row in enumerate(rows, 1)]


def _loaded(name: str, config: str | None) -> Any:
    datasets = optional("datasets", "data", f"loading {name} from the hub")
    try:
        return datasets.load_dataset(name, config)
    except (OSError, ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise UsageError(
            f"cannot load {name}{f' ({config})' if config else ''} from the hub: {reason}; "
            "name a local folder or file instead (jfhpo data: --source)"
        ) from error


def _from_folder(definition: Definition, folder: Path, config: str | None) -> dict[str, list[Placed]]:
    found = {}
    for ours, theirs in {**definition.splits, "validation": definition.splits.get("validation", "validation")}.items():
        for place in (folder, *([folder / config] if config else []), folder / "data"):
            if files := _files(place, theirs) or _files(place, ours):
                found[ours] = rows_of(files)
                break
    if not found:
        wanted = ", ".join(f"{theirs}.jsonl" for theirs in definition.splits.values())
        raise UsageError(f"{folder} holds no split of {definition.name}; wanted: {wanted} (or .parquet, or shards)")
    return found


def _files(folder: Path, split: str) -> list[Path]:
    """The file of a split or its shards (``train-00000-of-00002.parquet``), in order."""
    if not folder.is_dir():
        return []
    files = sorted(
        p for p in folder.iterdir() if p.suffix in SUFFIXES and (p.stem == split or p.stem.startswith(f"{split}-"))
    )
    if len({(p.suffix, p.stem == split) for p in files}) > 1:
        raise UsageError(f"{folder} holds split {split} more than once: {', '.join(p.name for p in files)}; keep one")
    return files


def rows_of(files: list[Path]) -> list[Placed]:
    """The rows of JSON Lines or parquet files; a `UsageError` names the file and the line that cannot be read."""
    rows: list[Placed] = []
    for file in files:
        try:
            rows += _parquet(file) if file.suffix == ".parquet" else _json_lines(file)
        except OSError as error:
            raise UsageError(f"cannot read {file}: {error.strerror or error}") from error
    return rows


def _json_lines(file: Path) -> Iterator[Placed]:
    with file.open("rb") as lines:
        for n, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:  # of JSON, and of UTF-8
                raise UsageError(f"{file}, line {n} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise UsageError(f"{file}, line {n} must be a JSON object, one a line, not {type(row).__name__}")
            yield f"{file}, line {n}", row


def _parquet(file: Path) -> Iterator[Placed]:
    parquet = optional("pyarrow.parquet", "data", f"reading {file.name}")
    import pyarrow

    try:
        rows = parquet.read_table(file, partitioning=None).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise UsageError(f"{file} is not a parquet file: {str(error).splitlines()[0]}") from error
    for n, row in enumerate(rows, 1):
        yield f"{file}, row {n}", row
