"""What a finished tuning says: start and recommendation side by side, the best trials, and the lines to paste."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.export import export
from experiments.tune.file import TuneFile
from jfhpo.core.problem import Problem
from jfhpo.study.records import read_records

BEST = 10
"""Trials shown."""


def show(
    file: TuneFile, folder: Path, problem: Problem, summary: dict[str, Any], tested: bool, console: Console
) -> None:
    """What the study in `folder` found: start and recommendation, its best trials, and the lines to paste.

    Args:
        tested: whether there was a test split; without one the last evaluation is on validation, and said to be.
    """
    trials = _trials(folder)
    console.print(_comparison(file, problem, summary, trials))
    console.print(_best(trials))
    final, test, spent = summary["final"], summary["test"], summary["spent"]["seconds"]
    lines = []
    if test:
        on = "test" if tested else "validation, on which it was chosen (the file names no test split)"
        mean = f"{test['mean_at_k']:.4f} ± {test['standard_error']:.4f}, greedy {test['greedy']:.4f}"
        lines.append(f"mean reward of the recommended on {on}: {mean}")
    if final and final["status"] == "cut":
        lines.append("the budget ended before the full run did: give more hours, or fewer steps")
    lines.append(f"spent {spent / 3600:.3g} of {file.budget_hours:g} h")
    console.out("\n".join([*lines, "", export(folder, file.engine)]), highlight=False)


Row = tuple[dict[str, Any], dict[str, Any]]
"""A trial and its result, as recorded."""


def _trials(folder: Path) -> list[Row]:
    """The trials with a score: on the target first, then by steps, then by validation, best first."""
    asked: dict[int, dict[str, Any]] = {}
    rows = []
    for event in read_records(folder):
        if event["event"] == "asked":
            asked[event["trial"]["id"]] = event["trial"]
        elif event["event"] == "told" and event["result"]["score"] is not None:
            rows.append((asked[event["result"]["trial"]], event["result"]))
    rows.sort(key=lambda row: (row[0]["fidelity"]["model"] == "target", row[1]["steps_done"], row[1]["score"]))
    return rows[::-1]


def _comparison(file: TuneFile, problem: Problem, summary: dict[str, Any], trials: Sequence[Row]) -> Table:
    """What the job has today beside what is recommended, each with the best that is known of it."""
    start, found = dict(problem.recipe), summary["recommended"]
    table = Table("", "start", "recommended", title=f"{file.name}: {summary['method']}, seed {summary['seed']}")
    for name in dict.fromkeys([*start, *found]):
        table.add_row(name, _value(start.get(name)), _value(found.get(name)))
    table.add_section()
    table.add_row("validation", *(_validation(config, problem, trials) for config in (start, found)))
    return table


def _validation(config: dict[str, Any], problem: Problem, trials: Sequence[Row]) -> str:
    for trial, result in trials:
        model = trial["fidelity"]["model"]
        if trial["config"] in (config, problem.map_lr(config, problem.target, model)):
            return f"{_value(result['score'])} ({model}, {result['steps_done']} steps)"
    return "not tried"


def _best(trials: Sequence[Row]) -> Table:
    shown = trials[:BEST]
    title = f"{len(shown)} of {len(trials)} trials: on the target first, then by steps, then by validation"
    table = Table("trial", "model", "steps", "validation", "ended", "configuration", title=title)
    for trial, result in shown:
        words = " ".join(f"{name}={_value(value)}" for name, value in trial["config"].items())
        steps, ended = str(result["steps_done"]), result["status"].replace("_", " ")
        table.add_row(str(trial["id"]), trial["fidelity"]["model"], steps, _value(result["score"]), ended, words)
    return table


def _value(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
