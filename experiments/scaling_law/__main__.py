"""``python -m experiments.scaling_law curves=FOLDER``: the laws on reward curves of one's own, as CSV files."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from experiments.scaling_law import analysis
from experiments.scaling_law.curves import folder_curves
from jfhpo.core.words import exit_code, settings
from jfhpo.dynamics.scaling_law import LEAST

DEFAULTS = {"curves": "", "column": "reward"}
HELP = f"""\
Fit the scaling laws to reward curves and print how far their forecasts of the final reward are off.

  python -m experiments.scaling_law curves=FOLDER [column=reward]

  curves  a folder of *.csv, one whole run each, one row per step; at least {LEAST} steps are needed for a fit
  column  the column that holds the mean training reward
"""


def main(words: Sequence[str]) -> int:
    """Run it; 0, or 2 for bad input."""
    if not words or {"-h", "--help", "help"} & set(words):
        print(HELP, end="")
        return 0

    def command() -> int:
        given = settings(words, DEFAULTS, examples={"curves": "runs"})
        _show(Path(given["curves"]), given["column"])
        return 0

    return exit_code(command)


def _show(folder: Path, column: str) -> None:
    curves = folder_curves(folder, column)
    long = [curve for curve in curves if curve.horizon >= LEAST]
    print(f"{len(curves)} curves, {len(curves) - len(long)} of them shorter than {LEAST} steps: not fitted")
    with pd.option_context("display.width", 160, "display.max_columns", None, "display.precision", 3):
        print("\nwhole curves (medians)")
        print(analysis.fit_table(analysis.whole_fits(long)).drop(columns="problem").to_string(index=False))
        print("\nforecasts of the final reward (median absolute error, its 95 % interval, ...)")
        table = analysis.forecast_table(analysis.forecasts(long)).drop(columns="problem")
        print(table.sort_values(["seen", "median"]).to_string(index=False))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
