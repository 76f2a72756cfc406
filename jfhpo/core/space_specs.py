"""What a person writes of a space, read: hyperparameter specs -> ConfigSpace's hyperparameters and conditions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import ConfigSpace as CS

from jfhpo.core.errors import UsageError, unknown

KINDS = ("float", "integer", "ordinal", "categorical")
LISTS = ("ordinal", "categorical")
"""Kinds that take one of a list of values, and may decide whether others are active."""
KEYS = ("type", "low", "high", "log", "values", "when")

Condition = tuple[str, tuple[Any, ...]]
"""The hyperparameter that another one hangs on, and the values of it with which that one is active."""


def read(specs: Mapping[str, Mapping[str, Any]]) -> tuple[CS.ConfigurationSpace, dict[str, Condition]]:
    """The space as ConfigSpace has it, and hyperparameter -> condition for those that have one.

    Raises:
        UsageError: naming the hyperparameter, the key, its value and what is allowed; for conditions, a parent that is
            not in the space or takes no list of values, values that it does not have, and circles.
    """
    space = CS.ConfigurationSpace()
    space.add([_parameter(name, spec) for name, spec in specs.items()])
    found = _conditions(specs)
    space.add([CS.InCondition(space[name], space[parent], list(v)) for name, (parent, v) in found.items()])
    return space, found


def _parameter(name: str, spec: Mapping[str, Any]) -> CS.hyperparameters.Hyperparameter:
    if not isinstance(spec, Mapping):
        raise UsageError(f"space.{name}={spec!r} must be a range or a list: type, then low and high, or values")
    for key in spec:
        if key not in KEYS:
            raise unknown(f"key of space.{name}", key, KEYS)
    kind = spec.get("type")
    if kind not in KINDS:
        raise unknown(f"type of hyperparameter {name}", kind, KINDS)
    if kind in ("float", "integer"):
        return _range(name, kind, spec)
    values = spec.get("values")
    if not isinstance(values, list | tuple) or not values:
        raise UsageError(f"space.{name}: {kind} needs a non-empty list of values, got {values!r}")
    if not all(isinstance(value, str | int | float | bool) for value in values):
        raise UsageError(f"space.{name}: values {list(values)} must be numbers or words, not lists or mappings")
    if len(set(values)) != len(values):
        raise UsageError(f"space.{name}: values {list(values)} repeat; list each once")
    make = CS.OrdinalHyperparameter if kind == "ordinal" else CS.CategoricalHyperparameter
    return make(name, list(values))


def _range(name: str, kind: str, spec: Mapping[str, Any]) -> CS.hyperparameters.Hyperparameter:
    low, high, log = spec.get("low"), spec.get("high"), bool(spec.get("log", False))
    if low is None or high is None:
        raise UsageError(f"space.{name}: a {kind} range needs low and high, got low={low}, high={high}")
    for end, value in (("low", low), ("high", high)):
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise UsageError(f"space.{name}: {end}={value} must be a finite number")
        if kind == "integer" and value != int(value):
            raise UsageError(f"space.{name}: {end}={value} must be a whole number, or use type: float")
    if not low < high:
        raise UsageError(f"space.{name}: low={low:g} must be below high={high:g}; swap or widen them")
    if log and low <= 0:
        raise UsageError(f"space.{name}: low={low:g} must be above 0 for a log range; raise it or set log=false")
    if kind == "integer":
        return CS.UniformIntegerHyperparameter(name, int(low), int(high), log=log)
    return CS.UniformFloatHyperparameter(name, float(low), float(high), log=log)


def _conditions(specs: Mapping[str, Mapping[str, Any]]) -> dict[str, Condition]:
    """Hyperparameter -> its condition, for those that have one. Each spec is good by itself."""
    found = {
        name: _condition(name, spec["when"], specs) for name, spec in specs.items() if spec.get("when") is not None
    }
    for name in found:
        chain = [name]
        while chain[-1] in found:
            chain.append(found[chain[-1]][0])
            if chain[-1] in chain[:-1]:
                circle = " needs ".join(chain[chain.index(chain[-1]) :])
                raise UsageError(f"space: {circle}, a circle that is never active; drop one when: of them")
    return found


def _condition(name: str, when: Any, specs: Mapping[str, Mapping[str, Any]]) -> Condition:
    if not isinstance(when, Mapping) or len(when) != 1:
        raise UsageError(f"space.{name}.when={when!r} must name one hyperparameter and its values: {{other: [values]}}")
    ((parent, wanted),) = when.items()
    if parent not in specs:
        raise unknown(f"hyperparameter in space.{name}.when", parent, specs)
    spec = specs[parent]
    if spec["type"] not in LISTS:
        raise UsageError(
            f"space.{name}.when: {parent} is of type {spec['type']}; only one of type {' or '.join(LISTS)} can decide"
        )
    listed = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    strange = [value for value in listed if value not in spec["values"]]
    if strange or not listed:
        what = f"{strange[0]!r} is no value of it" if strange else "no value is given"
        raise UsageError(f"space.{name}.when.{parent}: {what}; valid: {', '.join(map(str, spec['values']))}")
    return parent, tuple(own for own in spec["values"] if own in listed)
