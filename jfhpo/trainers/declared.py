"""Model families that a configuration declares: ``problem.models`` names each size, its weights, and what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import ModelSize

NEEDED = ("path", "parameters", "width")
SHAPE = ("layers", "kv_heads", "head_dim", "vocabulary", "embeddings")
"""What an estimate of memory needs besides (`jfhpo.trainers.hf.shape.read_shape` reads all of it from a folder)."""
KNOWN = (*NEEDED, "relative_cost", *SHAPE)


def declared_sizes(models: Mapping[str, Mapping[str, Any]]) -> tuple[ModelSize, ...]:
    """The sizes of ``{name: {path, parameters, width, relative_cost, …}}``, ordered by parameters.

    `path` is a folder or a hub name, `width` the hidden size, and `relative_cost` the cost of a step beside the
    smallest; without it a step costs in proportion to parameters, until the study has timed one.
    """
    for name, model in models.items():
        if not isinstance(model, Mapping):
            raise UsageError(f"problem.models.{name}={model} must be a group with {', '.join(NEEDED)}")
        for key in model:
            if key not in KNOWN:
                raise unknown(f"problem.models.{name}", key, KNOWN)
        for key in NEEDED:
            if key not in model:
                raise UsageError(f"problem.models.{name}.{key} is missing; a model needs {', '.join(NEEDED)}")
        for key in KNOWN[1:]:
            if key in model and not (isinstance(model[key], int | float) and model[key] > 0):
                raise UsageError(f"problem.models.{name}.{key}={model[key]} must be a number above 0")
    least = min(model["parameters"] for model in models.values())
    sizes = [
        ModelSize(name, int(m["parameters"]), int(m["width"]), float(m.get("relative_cost", m["parameters"] / least)))
        for name, m in models.items()
    ]
    return tuple(sorted(sizes, key=lambda size: size.parameters))
