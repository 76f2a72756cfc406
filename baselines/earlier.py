"""What an earlier study found, for a method that starts from there: configurations and scores from its records."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.problem import Problem
from jfhpo.core.trial import Config, Status

RECORDS = "records.jsonl"
"""Of a study's folder: one event per line."""


def full_runs(folder: str, problem: Problem, seed: int) -> list[tuple[Config, float]]:
    """Configurations that the earlier study's search trained on this problem's target for as long as it trained any
    there, with their validation scores, in the order in which they were told. How long that was may differ from this
    problem's `max_steps`: in the paper, 3 epochs and then 2.

    Args:
        folder: of a study, or of all seeds of one (``seed=<n>`` in it), of which the one with this seed is taken.

    Raises:
        UsageError: where there is no such study, it has no such run, or its configurations are not of this space.
    """
    path = Path(folder) / f"seed={seed}" if (Path(folder) / f"seed={seed}").is_dir() else Path(folder)
    try:
        events = list(_events(path / RECORDS))
    except OSError as error:
        raise UsageError(f"method.warm_start={folder} holds no study with seed {seed}; run that one first") from error
    asked = {e["trial"]["id"]: e["trial"] for e in events if e["event"] == "asked" and e["phase"] == "search"}
    judged = (Status.COMPLETED, Status.EARLY_STOPPED)
    results = [e["result"] for e in events if e["event"] == "told" and e["result"]["status"] in judged]
    runs = [(asked[r["trial"]], r["score"]) for r in results if r["trial"] in asked]
    on_target = [(t, score) for t, score in runs if t["fidelity"]["model"] == problem.target]
    longest = max((t["fidelity"]["steps"] for t, _ in on_target), default=0)
    if not longest:
        raise UsageError(f"method.warm_start={folder} has no finished run on {problem.target}; run that study first")
    try:
        return [(problem.space.validate(t["config"]), s) for t, s in on_target if t["fidelity"]["steps"] == longest]
    except UsageError as error:
        raise UsageError(f"method.warm_start={folder} is of another search space: {error}") from error


def _events(path: Path) -> Iterator[Mapping[str, Any]]:
    """Whole lines only: the last one may have been cut by a kill."""
    for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
        if line.endswith("\n"):
            try:
                yield json.loads(line)
            except ValueError as error:
                raise UsageError(f"{path} line {number} is damaged ({error})") from error
