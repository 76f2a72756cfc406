"""How many trials a second are replayed: every method on a recorded task, the optimizer's own time apart.

``python benchmarks/replay_speed.py`` replays the shipped data; with few recorded configurations a search is soon
through them. CPU seconds of one process; what is done once a process (imports, reading the table) is not counted.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from experiments.benchmark.sweep import METHODS
from experiments.config import load
from experiments.run import run_study
from jfhpo.core.errors import UsageError
from jfhpo.replay.dataset import DATA, names


def measured(method: str, problem: str, folder: str, budget: float, seeds: int) -> dict[str, float]:
    """Of studies with these seeds, after one that is not counted."""
    with tempfile.TemporaryDirectory() as out:
        words = ["scale=replay", f"problem={problem}", f"method={method}", f"budget={budget}", f"out={out}"]
        settings = f"+problem.trainer_settings={{folder: '{folder}'}}"
        config = load([*words, settings, "tracking=none"])
        config.seed = seeds
        run_study(config, None)
        began, trials, steps, own = time.process_time(), 0, 0, 0.0
        for seed in range(seeds):
            config.seed = seed
            summary = run_study(config, None)
            trials += sum(summary["trials"].values())
            steps += summary["steps"]
            own += summary["optimizer_seconds"]
        seconds = time.process_time() - began
    return {"trials": trials, "steps": steps, "seconds": seconds, "own": own}


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", default=list(METHODS))
    parser.add_argument("--problem", default=(*names(), "last_digit")[0])
    parser.add_argument("--folder", default=str(DATA))
    parser.add_argument("--budget", type=float, default=1000.0, help="recorded seconds of a study")
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args(words)
    table = Table("method", "trials", "steps", "CPU s", "trials / s", "of it the method's own", "ms per trial")
    try:
        for method in given.methods:
            found = measured(method, given.problem, given.folder, given.budget, given.seeds)
            rate, own = found["trials"] / found["seconds"], found["own"] / found["seconds"]
            cells = [f"{found['trials']:,}", f"{found['steps']:,}", f"{found['seconds']:.2f}", f"{rate:.0f}"]
            table.add_row(method, *cells, f"{own:.0%}", f"{1000 * found['own'] / found['trials']:.2f}")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
