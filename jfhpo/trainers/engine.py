"""What a study has to know of a trainer before it is imported: its sizes, and what it and its trials depend on.

A trainer is a package here with an ``engine.py`` that holds one `Engine`, called ``ENGINE``; `engines` finds it. The
trainer itself, and whatever it is built on, is imported in the worker that runs it and nowhere else.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jfhpo.core.errors import unknown
from jfhpo.core.problem import ModelSize
from jfhpo.core.trial import Config, Trial
from jfhpo.trainers.estimate import Job

Settings = Mapping[str, Any]
"""The ``problem`` group of a study's configuration, as plain data."""


def no_bases(problem: Settings) -> list[Any]:
    """For an engine whose models are there already."""
    return []


def no_check(problem: Settings) -> None:
    """For an engine that refuses everything in `arguments`."""


def no_gpus(problem: Settings) -> int:
    """For an engine that runs on a CPU too."""
    return 0


def one_gpu(problem: Settings) -> int:
    """For an engine that is one process: seeing more, a Hugging Face trainer would spread its batches over them."""
    return 1


@dataclass(frozen=True)
class Launch:
    """A program that a trial starts."""

    words: tuple[str, ...] = ()
    """Its arguments; empty where a trial starts none and runs in the study's own worker."""
    program: tuple[str, ...] = ()
    """What Python is to run."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Besides the study's own."""
    checks: str = ""
    """What these words were checked against, and what they were not."""


def in_the_worker(arguments: Mapping[str, Any], trial: Trial) -> Launch:
    """For an engine whose trials start no program of their own."""
    return Launch()


def not_estimated(problem: Settings) -> Job | None:
    """For an engine whose steps nobody has to plan for."""
    return None


def all_of_the_space(problem: Settings) -> None:
    """For an engine that can train every configuration."""


@dataclass(frozen=True)
class Engine:
    name: str
    trainer: str
    """``package.module:Class``, a `jfhpo.core.trainer.Trainer`."""
    family: Callable[[Settings], tuple[ModelSize, ...]]
    """The sizes that proxy and target are chosen from, ordered by parameters; a `UsageError` for a problem that the
    engine cannot run."""
    arguments: Callable[[Settings], dict[str, Any]]
    """What the trainer's constructor is given: plain data, sent to the worker."""
    version: Callable[[Mapping[str, Any]], str]
    """Arguments -> hash of the code and settings that decide what a trial turns out to be."""
    bases: Callable[[Settings], list[Any]] = no_bases
    """Base models of the miniature family (`jfhpo.trainers.mini.family.BaseSpec`) that have to be made first."""
    gpus: Callable[[Settings], int] = no_gpus
    """How many a trial of the problem cannot do without."""
    gpus_each: Callable[[Settings], int] = no_gpus
    """How many of the study's own machine each worker gets for itself where there are some; 0: it sees all of them,
    and those that a trial needs may be elsewhere."""
    in_worker: bool = False
    """Whether the worker's own process uses the GPU, and so has to end with its trial."""
    launch: Callable[[Mapping[str, Any], Trial], Launch] = in_the_worker
    """Arguments and a trial -> the program that it would start, checked as far as this machine can."""
    job: Callable[[Settings], Job | None] = not_estimated
    """What a step is, for `jfhpo.trainers.estimate`."""
    check: Callable[[Settings], None] = no_check
    """A `UsageError` for what has to hold where trials run and a dry run can do without: libraries, data on the hub."""
    simulated: bool = False
    """Whether costs are told and no time passes: such trials run in the study's own process, on a simulated clock."""
    listed: Callable[[Settings], Sequence[Config] | None] = all_of_the_space
    """The only configurations that trials may have, which makes the space finite; None where all of it can be had."""
    packed: str = ""
    """``package.module:Class``, a `jfhpo.core.trainer.PackedTrainer` made with `arguments` and a ``device``, which
    trains many trials at once with the numbers of one by one; empty where there is none."""


@functools.cache
def engines() -> tuple[str, ...]:
    """Their names."""
    return tuple(sorted(p.parent.name for p in Path(__file__).parent.glob("*/engine.py")))


def engine(name: str) -> Engine:
    """The engine of a name; `UsageError` with the valid ones for another."""
    if name not in engines():
        raise unknown("problem.trainer", name, engines())
    return importlib.import_module(f"jfhpo.trainers.{name}.engine").ENGINE
