"""What each experiment shows: one module per experiment, with a function ``page(records) -> Page``."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass

from matplotlib.figure import Figure

from experiments.gather import Records
from jfhpo.core.errors import unknown
from paper_figures.formats import Table


@dataclass(frozen=True)
class Drawing:
    """A figure and what a reader must know to read it."""

    name: str
    """Stem of its files."""
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Page:
    """What is written and printed of one experiment."""

    lead: tuple[str, ...]
    """The result in sentences, with what speaks against believing it."""
    tables: tuple[tuple[Table, ...], ...]
    """In the order of the report; each with the tables that belong below it, the published numbers say."""
    drawings: tuple[Drawing, ...] = ()
    printed: tuple[str, ...] = ()
    """Names of the tables that the terminal shows, the most important one last."""


def page(experiment: str, records: Records) -> Page:
    """The page of an experiment, made from the studies it reads."""
    names = sorted(module.name for module in pkgutil.iter_modules(__path__))
    if experiment not in names:
        raise unknown("experiment with a page", experiment, names)
    return importlib.import_module(f"{__name__}.{experiment}").page(records)
