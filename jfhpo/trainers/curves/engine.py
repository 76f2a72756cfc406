"""Curves by formula as a study knows them: `jfhpo.trainers.curves.trainer.CurvesTrainer`, two sizes, no bases."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import ModelSize
from jfhpo.trainers.curves.formula import LARGE, SMALL
from jfhpo.trainers.engine import Engine, Settings
from jfhpo.trainers.sources import source_digest

MODULE = "jfhpo.trainers.curves.trainer"
DEFAULTS = {"bias": 0.25, "noise": 0.01}
"""Decades between the proxy's best learning rate and what widths say; standard deviation of a validation."""


def family(problem: Settings) -> tuple[ModelSize, ...]:
    return SMALL, LARGE


def arguments(problem: Settings) -> dict[str, Any]:
    for name, value in problem["trainer_settings"].items():
        if name not in DEFAULTS:
            raise unknown("problem.trainer_settings", name, DEFAULTS)
        if not (isinstance(value, int | float) and 0 <= value < math.inf):
            raise UsageError(f"problem.trainer_settings.{name}={value} must be a number from 0 on")
    return DEFAULTS | problem["trainer_settings"]


def version(arguments: Mapping[str, Any]) -> str:
    content = [source_digest(MODULE), dict(arguments)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


ENGINE = Engine("curves", f"{MODULE}:CurvesTrainer", family, arguments, version, simulated=True)
