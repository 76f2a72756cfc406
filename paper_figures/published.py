"""The papers' own numbers, kept as CSV files beside this module with their source and how sure each one is."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from jfhpo.core.errors import unknown

FOLDER = Path(__file__).with_name("published")
NAMES = tuple(sorted(p.stem for p in FOLDER.glob("*.csv")))
CONFIDENCE = ("primary", "secondary", "inferred")
TASKS = {"gsm8k": "GSM8K", "math": "MATH", "openbookqa": "OpenBookQA", "mmlu": "MMLU", "average": "average"}
"""Columns of accuracy.csv and what the paper calls them."""

PAPER_NAME = {
    "recipe": "VeRL Recipe", "random_search": "Random Search", "bohb": "BOHB", "jfhpo_paper": "JF-HPO",
    "jfhpo": "JF-HPO",
}  # fmt: skip
"""The methods here that the paper has too, and their names there. Its JF-HPO stands beside both of ours:
``jfhpo_paper`` follows it to the letter, ``jfhpo`` answers to it."""
FULL = "full"
ABLATED = {
    "no_proxy": "without proxy",
    "no_checkpoint_reuse": "without checkpoint reuse",
    "no_early_stopping": "without early stopping",
}
"""The variants here that the paper's ablation has too, and what they are called in ablation.csv."""


def load(name: str) -> pd.DataFrame:
    """One file of published numbers, every row of it."""
    if name not in NAMES:
        raise unknown("published table", name, NAMES)
    frame = pd.read_csv(FOLDER / f"{name}.csv")
    odd = set(frame["confidence"]) - set(CONFIDENCE)
    if odd:
        raise unknown(f"confidence in {name}.csv", sorted(odd)[0], CONFIDENCE)
    return frame


def quotable(name: str) -> pd.DataFrame:
    """The rows that a table may print as the paper's: all but those inferred here."""
    frame = load(name)
    return frame[frame["confidence"] != "inferred"].reset_index(drop=True)


def common_models() -> list[str]:
    """The models on which the paper's accuracy is known for every method that is known at all: only over these
    is a mean over models the same mean for all methods."""
    table = quotable("accuracy")
    methods = set(table["method"])
    return [m for m, rows in table.groupby("model", sort=False) if set(rows["method"]) == methods]


def accuracy(method: str) -> float | None:
    """Mean over `common_models` of the paper's average accuracy (%) of a method of this project; None where the
    paper does not have the method or its rows were not recovered."""
    table = quotable("accuracy")
    rows = table[table["model"].isin(common_models()) & (table["method"] == PAPER_NAME.get(method))]
    return float(rows["average"].mean()) if len(rows) else None


def efficiency(method: str) -> pd.DataFrame:
    """The paper's efficiency rows of a method of this project, a row per model in the file's order; empty where
    there are none."""
    table = quotable("efficiency")
    return table[table["method"] == PAPER_NAME.get(method)].reset_index(drop=True)


def ablation(variant: str) -> float | None:
    """The paper's accuracy (%) of a variant of its ablation, e.g. ``full``; None where it does not have it."""
    table = quotable("ablation").set_index("variant")["accuracy"]
    return float(table[variant]) if variant in table.index else None


def ablation_loss(method: str) -> float | None:
    """Points that the paper's JF-HPO gains (negative: loses) without what `method` is without; None where its
    ablation does not have it."""
    without = ablation(ABLATED.get(method, ""))
    return None if without is None else without - ablation(FULL)
