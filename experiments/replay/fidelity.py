"""Does the replay rank methods as live studies do? ``python -m experiments.replay.fidelity live=results_full``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from experiments.gather import load
from experiments.replay import analysis
from jfhpo.core.errors import UsageError

HELP = """Compare replayed studies with live ones of the same problems.

usage: python -m experiments.replay.fidelity [replay=results_replay] [live=results_full]
"""
DEFAULTS = {"replay": "results_replay", "live": "results_full"}


def main(words: Sequence[str]) -> int:
    if any(w in ("-h", "--help") for w in words):
        print(HELP)
        return 0
    given = DEFAULTS | dict(word.split("=", 1) for word in words if "=" in word)
    try:
        replayed, live = load(Path(given["replay"]), "replay"), load(Path(given["live"]), "benchmark")
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    console = Console()
    console.print(_shown(analysis.side_by_side(replayed, live), "mean test accuracy"))
    console.print(_shown(analysis.agreement(replayed, live), "Spearman's ρ of the methods' means, replayed and live"))
    return 0


def _shown(frame: pd.DataFrame, title: str) -> Table:
    table = Table(*frame.columns, title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
