"""A small recording for tests: curves by formula through the real recorder, so that it takes a moment to make."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from experiments.config import plain
from experiments.record import opened, plans_of
from experiments.replay.build import build
from experiments.replay.runs import record_run
from jfhpo.replay.dataset import DataSet, load
from jfhpo.trainers.curves.trainer import CurvesTrainer

NAME = "curves"
MODELS = ("p", "l")
STEPS = 24


def record_curves(out: Path, configs: int = 16, trainer: type[CurvesTrainer] = CurvesTrainer, *words: str) -> Path:
    """The folder of a recording of `configs` configurations on p (as it is and mapped) and l."""
    ((plan, config),), _, _ = plans_of([f"problem={NAME}", "models=[p,l]", f"configs={configs}", *words])
    runs = trainer(bias=0.25, noise=0.01)
    with closing(opened(plan, plain(config)["problem"], out)) as recorder:
        for some in plan.runs():
            for run in some:
                line = record_run(runs, run, plan.problem, plan.validate_at, plan.test_k)
                recorder.write("run", **vars(run), took=0.0, **line)
    return out / NAME


def data_set(folder: Path, configs: int = 16, trainer: type[CurvesTrainer] = CurvesTrainer, *words: str) -> DataSet:
    """The data set made of such a recording, in ``folder/data``."""
    return build(record_curves(folder / "recordings", configs, trainer, *words), folder / "data")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("replay")
    data_set(made)
    return made / "data"


@pytest.fixture(scope="module")
def data(folder) -> DataSet:
    return load(NAME, folder)
