"""Make the data set from recordings: ``python -m experiments.replay.build recordings``.

`experiments.record` makes them. Configurations that were recorded in full, on every size, go in; the one that was under
way is left out.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.replay.card import card
from jfhpo.core.errors import UsageError
from jfhpo.core.words import exit_code, settings
from jfhpo.replay.dataset import (
    ABOUT,
    COST,
    CURVE_COLUMNS,
    CURVES,
    DATA,
    FOLDS,
    FORMAT,
    METRICS,
    REBUILD,
    RUN_COLUMNS,
    RUNS,
    TEST,
    DataSet,
    load,
)
from jfhpo.study.records import RECORDS, read_records, write_atomically
from jfhpo.trainers.replay.surrogate import CurveSurrogate

HELP = f"""Make the data set of recorded curves.

usage: {REBUILD} [recordings] [out=folder]

  {REBUILD}                        from ./recordings into the package, every task found there
  {REBUILD} recordings out=data    elsewhere

Record first: python -m experiments.record problem=[last_digit,linear_equation] models=[p,m3,l] configs=128
"""


def frames(events: Sequence[Mapping[str, Any]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Runs and curves of the configurations that are there in full: with every (size, way of its learning rate) that
    some configuration but the first has."""
    lines = [event for event in events if event["event"] == "run"]
    kinds = {(line["model"], line["transfer"]) for line in lines if line["configuration"] != 0}
    first = [line for line in lines if line["seed"] == 0 and (line["model"], line["transfer"]) in kinds]
    there = Counter(line["configuration"] for line in first)
    whole = [line for line in lines if there[line["configuration"]] == len(kinds)]
    rows, steps = [], []
    for number, line in enumerate(whole):
        rows.append(_run(number, line))
        steps.append(_curve(number, line))
    runs = pd.DataFrame(rows).astype({k: v for k, v in RUN_COLUMNS.items() if v != "str"})
    curves = pd.concat(steps, ignore_index=True) if steps else pd.DataFrame(columns=list(CURVE_COLUMNS))
    return runs, curves.astype(dict(CURVE_COLUMNS))


def _run(number: int, line: Mapping[str, Any]) -> dict[str, Any]:
    test = line["test"] or {}
    row = {"run": number, "fold": line["configuration"] % FOLDS, "steps": len(line["seconds"])}
    row |= {name: line[name] for name in ("configuration", "model", "transfer", "seed", "status", "reason")}
    row |= {f"{part}_{unit}": line[part][unit] for part in ("start", "save", "failing") for unit in COST}
    row |= {f"test_{name}": test.get(name, np.nan) for name in TEST}
    ordered = {name: row[name] for name in RUN_COLUMNS}
    return ordered | line["config"]


def _curve(number: int, line: Mapping[str, Any]) -> pd.DataFrame:
    count = len(line["seconds"])
    steps = pd.DataFrame({name: [np.nan, *line[name]] for name in (*METRICS, *COST)})
    steps.insert(0, "run", number)
    steps.insert(1, "step", range(count + 1))
    steps.loc[0, list(COST)] = 0.0
    validations = pd.DataFrame(line["validations"]).set_index("step")
    steps["val_accuracy"] = validations["accuracy"].reindex(steps["step"]).to_numpy()
    for unit in COST:
        steps[f"val_{unit}"] = validations[unit].reindex(steps["step"]).to_numpy(float)
    return steps


def build(recording: Path, out: Path) -> DataSet:
    """One task's data set from its folder of a recording; returned as it is read back."""
    events = read_records(recording)
    if not events or events[0]["event"] != "recording":
        raise UsageError(f"{recording} holds no recording; make one with: python -m experiments.record")
    runs, curves = frames(events)
    if runs.empty:
        raise UsageError(f"{recording} holds no configuration that was recorded on every size; let it run on")
    name = events[0]["problem"]["task"]
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for file, frame in ((RUNS, runs), (CURVES, curves)):
        aside = folder / f".{file}.{os.getpid()}"
        frame.to_parquet(aside, engine="pyarrow", compression="zstd", index=False)
        files[file] = {"sha256": hashlib.sha256(aside.read_bytes()).hexdigest(), "rows": len(frame)}
        os.replace(aside, folder / file)
    about = {key: value for key, value in events[0].items() if key != "event"}
    about = {"format": FORMAT, "name": name, **about, "files": files}
    write_atomically(folder / ABOUT, json.dumps(about, indent=1) + "\n")
    data = load(name, out)
    write_atomically(folder / "README.md", card(data))
    return data


def with_surrogate(data: DataSet, out: Path) -> DataSet:
    """Also in ``dataset.json``: the kernels of the curves' surrogate, so that it is the same wherever it is used."""
    found = CurveSurrogate(data).kernels
    write_atomically(out / data.name / ABOUT, json.dumps({**data.about, "surrogate": found}, indent=1) + "\n")
    return load(data.name, out)


def main(words: Sequence[str]) -> int:
    if any(w in ("-h", "--help") for w in words):
        print(HELP)
        return 0

    def command() -> int:
        out = Path(settings([w for w in words if "=" in w], {"out": str(DATA)})["out"])
        source = Path(next((w for w in words if "=" not in w), "recordings"))
        found = sorted(path.parent for path in source.glob(f"*/{RECORDS}"))
        if not found:
            raise UsageError(f"there are no recordings in {source}; make them with: python -m experiments.record")
        for recording in found:
            print(with_surrogate(build(recording, out), out))
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
