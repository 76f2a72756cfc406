"""What the conformance tests have to be told of an engine: a tiny problem to run it on.

``tests/trainers/<engine>/conformance.py`` holds one as ``CASE``. It imports nothing heavy, and the engine's library
only inside functions: it is read where the library is not installed, too.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from jfhpo.core.trainer import Trainer
from jfhpo.core.trial import Config

PROBLEM: Mapping[str, Any] = {
    "proxy": "xs",
    "target": "xs",
    "extra_models": [],
    "models": {},
    "space": {},
    "data": {},
    "pretrain": {},
    "trainer_settings": {},
    "max_steps": 8,
}
"""The ``problem`` group as far as it is the same for most."""


AFTER = 20.0


def as_it_is(patch: pytest.MonkeyPatch) -> None:
    """For an engine whose splits are small enough."""


@dataclass(frozen=True)
class Case:
    problem: Mapping[str, Any]
    """The ``problem`` group of a study's configuration, over `PROBLEM`: at least ``task``, with ``max_steps`` above
    `parts.END`. Base models of the miniature family that it needs are made by the tests."""
    config: Config
    """A configuration that learns something on the problem's proxy."""
    breaks: Config
    """Changes to it with which no training can go on."""
    prompts: Callable[[Trainer], Mapping[str, Sequence[Any]]] | str
    """The prompts of every split of a trainer, by split; a text where there can be none: why not."""
    shrink: Callable[[pytest.MonkeyPatch], None] = as_it_is
    """Makes the splits small, in every process in which the tests make a trainer."""
    tolerance: float = 0.0
    """By how much numbers of equal runs may differ, relatively; 0: not at all, to the last bit."""
    drawn: Mapping[str, float] = field(default_factory=dict)
    """Where sampling itself does not repeat: the fields that it decides, and by how much they may differ in equal runs,
    absolutely. All others are held to `tolerance`."""
    processes: bool = False
    """Whether trials run in processes of the engine's own: CPU seconds are then those of all of them together, and they
    end by themselves within `AFTER` seconds of a worker that was killed."""
    slow: bool = False
    """Whether its tests take minutes: they run with ``--slow`` only."""


def case(name: str) -> Case:
    """That of an engine; the test fails, with what to add, where there is none."""
    module = f"tests.trainers.{name}.conformance"
    try:
        found = getattr(importlib.import_module(module), "CASE", None)
    except ModuleNotFoundError as error:
        if not module.startswith(str(error.name)):
            raise
        found = None
    if not isinstance(found, Case):
        pytest.fail(
            f"engine {name} has no case: add {module.replace('.', '/')}.py with CASE = Case(problem=…, config=…, "
            "breaks=…, prompts=…), a problem that runs in seconds; tests/trainers/mini/conformance.py is one",
            pytrace=False,
        )
    return found


def is_slow(name: str) -> bool:
    """Asked while tests are collected: an engine without a case is not, so that its tests run and say so."""
    try:
        return case(name).slow
    except (Exception, pytest.fail.Exception):
        return False
