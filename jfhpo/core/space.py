"""`SearchSpace`: a thin coat over ConfigSpace that samples from a given generator and encodes for a surrogate."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import ConfigSpace as CS
import numpy as np
from scipy.stats import qmc

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.trial import Config

KINDS = ("float", "integer", "ordinal", "categorical")


def config_key(config: Config) -> str:
    """A short name of a configuration: equal configurations, and only those, share it."""
    text = json.dumps(dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _parameter(name: str, spec: Mapping[str, Any]) -> CS.hyperparameters.Hyperparameter:
    if not isinstance(spec, Mapping):
        raise UsageError(f"space.{name}={spec!r} must be a range or a list: type, then low and high, or values")
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


class SearchSpace:
    """The hyperparameters φ that a study searches.

    ``specs`` maps a name to ``{type: float|integer, low, high, log}`` or ``{type: ordinal|categorical, values}``.
    Ordinals are numbers whose order matters but whose spacing is the list's own (``rollout_n`` 4, 8, 16).
    """

    def __init__(self, specs: Mapping[str, Mapping[str, Any]]):
        if not specs:
            raise UsageError("space: at least one hyperparameter is needed")
        self.configspace = CS.ConfigurationSpace()
        self.configspace.add([_parameter(name, spec) for name, spec in specs.items()])
        self.specs = {name: dict(spec) for name, spec in specs.items()}
        self.names: tuple[str, ...] = tuple(self.specs)
        self.conditions: dict[str, tuple[str, tuple[Any, ...]]] = {}
        """Hyperparameter -> (another, the values of that one with which it is active)."""

    def sample(self, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """`count` configurations drawn uniformly (log-uniformly on log ranges) from `rng`."""
        self.configspace.seed(int(rng.integers(2**31)))
        drawn = self.configspace.sample_configuration(count)
        return [self._plain(dict(c)) for c in ([drawn] if count == 1 else drawn)]

    def spread(self, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """`count` configurations that cover the space evenly: a scrambled Sobol sequence (Owen 1998)."""
        bits = max(math.ceil(math.log2(count)), 0)  # the sequence is balanced over powers of two
        units = qmc.Sobol(len(self.names), scramble=True, rng=rng).random_base2(bits)[:count]
        return [self._plain({n: self._from_unit(n, u) for n, u in zip(self.names, row, strict=True)}) for row in units]

    def _from_unit(self, name: str, unit: float) -> Any:
        parameter = self.configspace[name]
        values = getattr(parameter, "choices", None) or getattr(parameter, "sequence", None)
        if values is not None:
            return values[min(int(unit * len(values)), len(values) - 1)]
        return parameter.to_value(float(unit))

    def neighbour(self, config: Config, rng: np.random.Generator, scale: float) -> dict[str, Any]:
        """A nearby configuration: numbers move by a normal step of `scale` in unit coordinates, and each
        categorical or ordinal is redrawn with probability `scale`, ordinals to an adjacent value."""
        near = dict(config)
        for name in self.names:
            parameter = self.configspace[name]
            if isinstance(parameter, CS.CategoricalHyperparameter):
                if rng.random() < scale:
                    near[name] = parameter.choices[rng.integers(len(parameter.choices))]
            elif isinstance(parameter, CS.OrdinalHyperparameter):
                if rng.random() < scale:
                    i = parameter.sequence.index(near[name]) + int(rng.choice((-1, 1)))
                    near[name] = parameter.sequence[int(np.clip(i, 0, len(parameter.sequence) - 1))]
            else:
                u = parameter.to_vector(near[name]) + scale * rng.standard_normal()
                near[name] = parameter.to_value(float(np.clip(u, 0.0, 1.0)))
        return self._plain(near)

    def encode(self, configs: Sequence[Config]) -> np.ndarray:
        """Unit-cube features, shape (len(configs), dim): numbers and ordinals one column (log ranges in log
        space), categoricals of two values one column, of more values one column per value."""
        columns = []
        for name in self.names:
            parameter, values = self.configspace[name], [c[name] for c in configs]
            if isinstance(parameter, CS.CategoricalHyperparameter):
                choices = list(parameter.choices)
                kept = choices[1:] if len(choices) == 2 else choices
                columns += [[float(v == choice) for v in values] for choice in kept]
            else:
                columns.append([self._coordinate(name, v) for v in values])
        return np.array(columns, dtype=np.float64).reshape(-1, len(configs)).T

    def code(self, configs: Sequence[Config]) -> np.ndarray:
        """One column per hyperparameter, shape (len(configs), len(names)), for optimisers of mixed spaces: unit
        coordinates as in `encode`, and the index of a categorical's value."""
        columns = []
        for name in self.names:
            if self.specs[name]["type"] == "categorical":
                values = list(self.specs[name]["values"])
                columns.append([float(values.index(c[name])) for c in configs])
            else:
                columns.append([self._coordinate(name, c[name]) for c in configs])
        return np.array(columns, dtype=np.float64).reshape(len(self.names), len(configs)).T

    def decode(self, code: Sequence[float]) -> dict[str, Any]:
        """The configuration of one row of `code`."""
        config = {}
        for name, value in zip(self.names, code, strict=True):
            spec = self.specs[name]
            if spec["type"] == "categorical":
                config[name] = spec["values"][round(float(value))]
            elif spec["type"] == "ordinal":
                config[name] = spec["values"][round(float(value) * (len(spec["values"]) - 1))]
            else:
                config[name] = self.configspace[name].to_value(float(np.clip(value, 0.0, 1.0)))
        return self._plain(config)

    def allowed_codes(self) -> dict[int, list[float]]:
        """Column -> the values that `code` takes there, rising; columns that take any value in [0, 1] are left out."""
        found = {}
        for column, (name, spec) in enumerate(self.specs.items()):
            if spec["type"] == "categorical":
                found[column] = [float(i) for i in range(len(spec["values"]))]
            elif spec["type"] == "ordinal":
                found[column] = [self._coordinate(name, value) for value in spec["values"]]
            elif spec["type"] == "integer":
                found[column] = [self._coordinate(name, v) for v in range(int(spec["low"]), int(spec["high"]) + 1)]
        return found

    def _coordinate(self, name: str, value: Any) -> float:
        """Unit coordinate of a number or an ordinal's value."""
        spec = self.specs[name]
        if spec["type"] == "ordinal":
            return list(spec["values"]).index(value) / max(len(spec["values"]) - 1, 1)
        return self._unit(self.configspace[name], float(value))

    @staticmethod
    def _unit(parameter: Any, value: float) -> float:
        """Unit coordinate of a number; outside [0, 1] for one beyond its range (a learning rate that was mapped
        to another model size may lie there)."""
        low, high = float(parameter.lower), float(parameter.upper)
        if parameter.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)

    def validate(self, config: Config) -> dict[str, Any]:
        """The configuration with plain values; a `UsageError` names what is missing, unknown or out of range."""
        for name in config:
            if name not in self.specs:
                raise unknown("hyperparameter", name, self.names)
        for name in self.names:
            if name not in config:
                raise UsageError(f"hyperparameter {name} is missing from the configuration {dict(config)}")
            scalar = isinstance(config[name], str | int | float)
            if not scalar or not self.configspace[name].legal_value(config[name]):
                raise UsageError(f"hyperparameter {name}={config[name]!r} is not allowed; valid: {self.allowed(name)}")
        return self._plain(config)

    def allowed(self, name: str) -> str:
        """What a hyperparameter may be, in words."""
        spec = self.specs[name]
        if "values" in spec:
            return ", ".join(str(v) for v in spec["values"])
        return f"{spec['low']:g} to {spec['high']:g}"

    def _plain(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Python scalars of the type that the space declares, in its order: equal configurations have equal keys."""
        return {name: self._own(name, config[name]) for name in self.names}

    def _own(self, name: str, value: Any) -> Any:
        spec = self.specs[name]
        if "values" in spec:  # ConfigSpace hands [1, 0.5] back as floats
            return next(own for own in spec["values"] if own == value)
        return float(value) if spec["type"] == "float" else int(value)
