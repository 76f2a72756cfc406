"""``jfhpo tune --config my.yaml``: search a user's own job. The same command continues it, or shows its end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from experiments.plan import planned
from experiments.plan_view import show_plan
from experiments.run import build_study, check_folder, run_study
from experiments.tune.file import read_tune_file
from experiments.tune.show import show
from experiments.tune.study import in_their_words, study_config
from jfhpo.core.errors import UsageError


def tune(path: Path, dry_run: bool, console: Console) -> int:
    """Run, continue or show the study that the file describes; in a dry run only say what would happen.

    Raises:
        UsageError: anything wrong with the file, data, reward, model or a key, before anything is written.
    """
    file = read_tune_file(path)
    try:
        config = study_config(file)
        folder = check_folder(config)
        if dry_run:
            show_plan(str(path), [planned(f"jfhpo tune --config {path}", config)], console)
            return 0
        parts = build_study(config)
    except UsageError as error:
        raise in_their_words(file, error) from error
    summary = run_study(config, console)
    tested = "name" in file.data or "test" in file.data
    show(file, folder, parts.problem, summary, tested, console)
    return 0
