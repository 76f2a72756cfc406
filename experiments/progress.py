"""What a person watches while bases are made and studies run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from jfhpo.trainers.mini.family import MADE, BaseSpec
from jfhpo.trainers.mini.pretrain import Progress as PretrainProgress


def progress_view(console: Console) -> Progress:
    """Description, bar, share, time left and a note, one line a task."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("eta"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=console,
        refresh_per_second=2,
    )


class BaseProgress:
    """Watches `build_bases`: one line a base. The clean phase ends when the skill is there, so its bar may jump."""

    def __init__(self, console: Console, specs: Iterable[BaseSpec]):
        self.console, self.view = console, progress_view(console)
        self.tasks = {s: self.view.add_task(f"base {s.size} of {s.task}", total=None, note="starting") for s in specs}

    def __enter__(self) -> BaseProgress:
        self.console.print("making base models (once; cached for later runs)")
        self.view.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.view.stop()

    def __call__(self, spec: BaseSpec, seen: PretrainProgress | str) -> None:
        task = self.tasks[spec]
        if seen == MADE:
            self.view.update(task, total=1, completed=1, note="made")
        elif seen.phase == "no transition":
            self.console.print(
                f"base {spec.size}: no transition within {seen.of} steps (validation {seen.accuracy:.1%}); next seed"
            )
        else:
            note = f"{seen.phase}, validation {seen.accuracy:.1%}"
            self.view.update(task, total=seen.of, completed=seen.step, note=note)


class StudyProgress:
    """An observer of one study: what is spent of the budget, which trial runs, and the best score so far."""

    def __init__(self, console: Console, budget: float, unit: str, title: str):
        self.unit, self.best = unit, 0.0
        self.view = progress_view(console)
        self.task = self.view.add_task(title, total=budget, note="starting")
        self.view.start()

    def __call__(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "step":
            record = event["record"]
            self.best = max(self.best, record["val_accuracy"] or 0.0)
            note = f"trial {event['trial']} step {record['step']}, reward {record['reward_mean']:.2f}"
            note += f", best validation {self.best:.3f}"
            self.view.update(self.task, completed=event["spent"][self.unit], note=note)
        elif kind == "recommended":
            self.view.update(self.task, note="training the recommendation on the target")
        elif kind == "finished":
            self.view.update(self.task, note="finished")

    def close(self) -> None:
        self.view.stop()
