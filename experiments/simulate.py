"""Studies on simulated trainers: each is over in seconds, so a process runs one after another and only counts."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from experiments.config import plain
from experiments.progress import progress_view
from experiments.run import run_study
from jfhpo.core.errors import UsageError

Ended = Callable[[int, str | None], None]
"""Called with a study's number and, where it failed, why."""


def simulate(configs: Sequence[DictConfig], at_once: int, console: Console, ended: Ended) -> None:
    """Run the studies to their end, `at_once` processes at a time."""
    view = progress_view(console)
    overall = view.add_task(f"{len(configs)} simulated studies", total=len(configs), note="")
    # Spawned, not forked: this process has threads, and a child of a fork may wait for ever on a lock of one of them.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(at_once, len(configs)), mp_context=context)
    try:
        with view:
            waiting = {pool.submit(_run, plain(config)): number for number, config in enumerate(configs)}
            for done in as_completed(waiting):
                ended(waiting[done], done.result())
                view.advance(overall)
    finally:
        pool.shutdown(cancel_futures=True)


def _run(config: dict[str, Any]) -> str | None:
    """None, or why it failed. The configuration comes as plain data: one with its schema cannot be pickled."""
    try:
        run_study(OmegaConf.create(config), console=None)
    except UsageError as error:
        return f"error: {error}"
    except Exception:  # the process boundary: one study's bug is no other's
        return traceback.format_exc()
    return None
