"""Frames in the terminal."""

from __future__ import annotations

import pandas as pd
from rich.console import Console
from rich.table import Table


def show(frame: pd.DataFrame, title: str) -> None:
    """Print every row, numbers that are not whole with three decimals."""
    table = Table(*frame.columns, title=title)
    for row in frame.itertuples(index=False):
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else str(value) for value in row))
    Console().print(table)
