"""What the conformance tests share: every engine, its trainer on its tiny problem, and runs to compare with."""

from __future__ import annotations

import dataclasses
import functools
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import Evaluation, Trainer
from jfhpo.core.trial import Cost, Fidelity, StepRecord, Trial
from jfhpo.study.executors.protocol import TrainerSpec
from jfhpo.study.executors.worker import make_trainer
from jfhpo.trainers.engine import engine, engines
from tests.trainers.conformance.case import PROBLEM, case, is_slow

ENGINES = [pytest.param(name, marks=[pytest.mark.slow] if is_slow(name) else []) for name in engines()]
RUNG, END = 3, 6
"""A trial of the whole course has `END` steps, and is saved and resumed at `RUNG`."""
SEED = 5
ASKED = (("validation", 1, 0), ("validation", 2, 3), ("test", 2, 3))
"""Splits, draws and seeds with which a model is looked at."""


def check(column: str) -> Callable[[Callable], Callable]:
    """A test of every engine (its argument `name`), counted in this column of the table at the end."""

    def decorate(test: Callable) -> Callable:
        return pytest.mark.check(column, of="engines")(pytest.mark.parametrize("name", ENGINES)(test))

    return decorate


KNOWN: dict[str, TrainerSpec] = {}
"""What `spec` has found, or was found by the process that started this one."""


def spec(name: str) -> TrainerSpec:
    """How a study would make the engine's trainer on the case's problem, its base models made."""
    if name not in KNOWN:
        KNOWN[name] = _spec(name)
    return KNOWN[name]


def _spec(name: str) -> TrainerSpec:
    problem = PROBLEM | case(name).problem
    found = engine(name)
    try:
        arguments = found.arguments(problem)
        found.check(problem)
    except UsageError as error:
        if "is not installed" not in str(error):
            raise
        pytest.skip(str(error))
    for base in found.bases(problem):
        if not base.made:
            from jfhpo.trainers.mini.family import build_base

            build_base(base)
    return TrainerSpec(name, found.trainer, arguments, found.version(arguments), found.simulated)


@contextmanager
def small(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        case(name).shrink(patch)
        yield


def make(name: str) -> Trainer:
    """A new trainer, with small splits."""
    with small(name):
        return make_trainer(spec(name).path, spec(name).arguments)


def trial(name: str, steps: int = END, *, seed: int = SEED, validate_at: tuple[int, ...] = (RUNG,), **changes) -> Trial:
    """The case's configuration, validated at the rung and at its end unless told otherwise."""
    problem = PROBLEM | case(name).problem
    fidelity = Fidelity(changes.pop("model", problem["proxy"]), steps)
    return Trial(0, {**case(name).config, **changes}, fidelity, seed, validate_at=validate_at)


@dataclasses.dataclass(frozen=True)
class Seen:
    """All that can be seen of a run, but for what it took."""

    steps: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]


@functools.cache
def reference(name: str) -> Seen:
    """A trial run through without a stop, and the model that it ends with."""
    trainer = make(name)
    steps = told(name, trainer.start(trial(name)))
    return Seen(steps, looked_at(name, trainer))


def looked_at(name: str, trainer: Trainer) -> list[dict[str, Any]]:
    return told(name, (trainer.evaluate(*asked) for asked in ASKED))


def told(name: str, reports: Iterable[StepRecord | Evaluation]) -> list[dict[str, Any]]:
    """Reports as plain data, without seconds that were measured."""
    simulated = spec(name).simulated
    rows = []
    for report in reports:
        cost = report.cost if simulated else dataclasses.replace(report.cost, seconds=0.0)
        rows.append(dataclasses.asdict(dataclasses.replace(report, cost=cost)))
    return rows


def assert_same(name: str, found: Any, expected: Any, where: str = "") -> None:
    """Equal to the last bit, or within the case's tolerance; NaN is like NaN. `where` ends in a field's name."""
    if isinstance(expected, Mapping):
        assert found.keys() == expected.keys(), where
        for key in expected:
            assert_same(name, found[key], expected[key], f"{where}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), f"{where}: {len(found)} instead of {len(expected)}"
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            assert_same(name, one, other, f"{where}[{number}]")
    elif isinstance(expected, int | float) and isinstance(found, int | float):
        same = found == expected or (math.isnan(found) and math.isnan(expected))
        apart = {"rel_tol": case(name).tolerance, "abs_tol": case(name).drawn.get(where.rpartition(".")[2], 0.0)}
        assert same or math.isclose(found, expected, **apart), f"{where}: {found}, {expected}"
    else:
        assert found == expected, f"{where}: {found}, {expected}"


def about(name: str, cost: float, unit: str, steps: int = 1) -> Any:
    """What equals the cost of so many steps of an equal run."""
    apart = case(name).drawn.get(unit, 0.0) * math.sqrt(steps)
    return pytest.approx(cost, rel=max(case(name).tolerance, 1e-12), abs=apart)


def without(rows: list[dict[str, Any]], *fields: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key not in fields} for row in rows]


def scramble(seed: int) -> None:
    """Another state for every stream of random numbers that a caller may have used."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def total(costs: Iterable[Cost]) -> Cost:
    return sum(costs, Cost())


def keeps_no_files(name: str, record_property: Callable[[str, object], None]) -> bool:
    """Whether the study of a simulated engine keeps the steps that were saved, and no files: noted in the table."""
    if simulated := spec(name).simulated:
        record_property("refused", True)
    return simulated


def children(parent: int) -> set[int]:
    """Processes that this one, or one that it has started, has started and that are there."""
    tasks = Path(f"/proc/{parent}/task").glob("*/children")
    own = {int(pid) for file in tasks for pid in file.read_text().split()}
    return own.union(*map(children, own))
