"""`SearchSpace`: a thin coat over ConfigSpace that samples from a given generator and encodes for a surrogate."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import ConfigSpace as CS
import numpy as np
from scipy.stats import qmc

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.space_specs import read
from jfhpo.core.trial import Config


def config_key(config: Config) -> str:
    """A short name of a configuration: equal configurations, and only those, share it."""
    text = json.dumps(dict(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class SearchSpace:
    """The hyperparameters φ that a study searches.

    ``specs`` maps a name to ``{type: float|integer, low, high, log}`` or ``{type: ordinal|categorical, values}``.
    Ordinals are numbers whose order matters but whose spacing is the list's own (``rollout_n`` 4, 8, 16).

    A spec may say ``when: {other: [values]}``, with an ordinal or a categorical as the other: the hyperparameter is
    active while that one is active and has one of these values. A configuration holds its active hyperparameters only.

    ``listed`` makes it finite: these configurations and no others, for example those that were recorded. Whatever is
    drawn or decoded is then one of them, and `nearest` takes what a library proposes to the nearest.
    """

    def __init__(self, specs: Mapping[str, Mapping[str, Any]], listed: Sequence[Config] | None = None):
        if not specs:
            raise UsageError("space: at least one hyperparameter is needed")
        self.configspace, self.conditions = read(specs)
        """The latter: hyperparameter -> (another, the values of that one with which it is active)."""
        self.specs = {name: dict(spec) for name, spec in specs.items()}
        self.names: tuple[str, ...] = tuple(self.specs)
        self.parents_first = tuple(sorted(self.names, key=lambda name: len(self._above(name))))
        """The names with whatever decides over a hyperparameter before it."""
        self.stand_ins = {name: self._stand_in(name) for name in self.names}
        """What a surrogate, whose rows are of one length, sees of an inactive hyperparameter: the middle of its range
        (in log space on log ranges), an ordinal's middle value (of two, the lower), a categorical's first."""
        self.listed: tuple[dict[str, Any], ...] | None = None
        """The configurations of a finite space, each once; None where every one is allowed."""
        if listed is not None:
            if not listed:
                raise UsageError("space: a list of configurations must hold at least one")
            self.listed = tuple({config_key(c): c for c in map(self.validate, listed)}.values())
            self._keys = tuple(map(config_key, self.listed))
            self._points = self.encode(self.listed)

    def _above(self, name: str) -> list[str]:
        """What decides over a hyperparameter, and over that, and so on."""
        found: list[str] = []
        while name in self.conditions:
            name = self.conditions[name][0]
            found.append(name)
        return found

    def _stand_in(self, name: str) -> Any:
        spec = self.specs[name]
        if spec["type"] == "categorical":
            return spec["values"][0]
        if spec["type"] == "ordinal":
            return spec["values"][(len(spec["values"]) - 1) // 2]
        return self._own(name, self.configspace[name].to_value(0.5))

    def is_active(self, name: str, config: Config) -> bool:
        """Whether a configuration is to hold this hyperparameter. It may lack others, and hold too many."""
        if name not in self.conditions:
            return True
        parent, values = self.conditions[name]
        return config.get(parent) in values and self.is_active(parent, config)

    def filled(self, config: Config) -> dict[str, Any]:
        """A value for every hyperparameter: the configuration's, and stand-ins for the inactive ones."""
        return {name: config.get(name, self.stand_ins[name]) for name in self.names}

    def nearest(self, config: Config, besides: Collection[str] = ()) -> dict[str, Any]:
        """In a finite space the listed configuration nearest in `encode`'s unit coordinates, the first of equals, but
        none of those in `besides` (by `config_key`) while there are others; elsewhere the configuration itself."""
        if self.listed is None:
            return dict(config)
        away = ((self._points - self.encode([config])) ** 2).sum(axis=1)
        taken = np.array([key in besides for key in self._keys])
        if not taken.all():
            away[taken] = np.inf
        return dict(self.listed[int(np.argmin(away))])

    def untried(self, tried: Collection[str]) -> list[dict[str, Any]]:
        """The configurations of a finite space without those in `tried` (by `config_key`)."""
        return [dict(c) for key, c in zip(self._keys, self.listed, strict=True) if key not in tried]

    def draw(self, rng: np.random.Generator, drawn: Collection[str] = ()) -> dict[str, Any]:
        """One configuration drawn uniformly; in a finite space without replacement, as long as not all are in `drawn`
        (by `config_key`): a full repetition teaches nothing there."""
        if self.listed is None:
            return self.sample(rng, 1)[0]
        left = self.untried(drawn) or self.listed
        return dict(left[int(rng.integers(len(left)))])

    def sample(self, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """`count` configurations drawn uniformly (log-uniformly on log ranges) from `rng`; in a finite space from its
        list, with replacement."""
        if self.listed is not None:
            return [dict(self.listed[i]) for i in rng.integers(len(self.listed), size=count)]
        self.configspace.seed(int(rng.integers(2**31)))
        drawn = self.configspace.sample_configuration(count)
        return [self._plain(dict(c)) for c in ([drawn] if count == 1 else drawn)]

    def spread(self, rng: np.random.Generator, count: int) -> list[dict[str, Any]]:
        """`count` configurations that cover the space evenly: a scrambled Sobol sequence (Owen 1998), one coordinate
        per hyperparameter; the coordinates of inactive ones are dropped. In a finite space the nearest of its list,
        each once while they last."""
        bits = max(math.ceil(math.log2(count)), 0)  # the sequence is balanced over powers of two
        units = qmc.Sobol(len(self.names), scramble=True, rng=rng).random_base2(bits)[:count]
        spread = [
            self._plain({n: self._from_unit(n, u) for n, u in zip(self.names, row, strict=True)}) for row in units
        ]
        if self.listed is None:
            return spread
        taken: dict[str, dict[str, Any]] = {}
        for config in spread:
            config = self.nearest(config, besides=taken)
            taken[config_key(config)] = config
        return list(taken.values())

    def _from_unit(self, name: str, unit: float) -> Any:
        parameter = self.configspace[name]
        values = getattr(parameter, "choices", None) or getattr(parameter, "sequence", None)
        if values is not None:
            return values[min(int(unit * len(values)), len(values) - 1)]
        return parameter.to_value(float(unit))

    def neighbour(self, config: Config, rng: np.random.Generator, scale: float) -> dict[str, Any]:
        """A nearby configuration: numbers move by a normal step of `scale` in unit coordinates, and each
        categorical or ordinal is redrawn with probability `scale`, ordinals to an adjacent value. What this makes
        active is drawn from its whole range. In a finite space the listed one nearest to where that leads."""
        near = dict(config)
        for name in self.parents_first:
            if not self.is_active(name, near):
                continue
            if name not in near:
                near[name] = self._from_unit(name, rng.random())
                continue
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
        return self.nearest(self._plain(near))

    def encode(self, configs: Sequence[Config]) -> np.ndarray:
        """Unit-cube features, shape (len(configs), dim): numbers and ordinals one column (log ranges in log
        space), categoricals of two values one column, of more values one column per value. Inactive ones are
        encoded as their stand-ins."""
        columns = []
        for name in self.names:
            parameter, values = self.configspace[name], [c.get(name, self.stand_ins[name]) for c in configs]
            if isinstance(parameter, CS.CategoricalHyperparameter):
                choices = list(parameter.choices)
                kept = choices[1:] if len(choices) == 2 else choices
                columns += [[float(v == choice) for v in values] for choice in kept]
            else:
                columns.append(self._coordinates(name, values))
        return np.array(columns, dtype=np.float64).reshape(-1, len(configs)).T

    def code(self, configs: Sequence[Config]) -> np.ndarray:
        """One column per hyperparameter, shape (len(configs), len(names)), for optimisers of mixed spaces: unit
        coordinates as in `encode`, and the index of a categorical's value."""
        columns = []
        for name in self.names:
            columns.append([self._code(name, c.get(name, self.stand_ins[name])) for c in configs])
        return np.array(columns, dtype=np.float64).reshape(len(self.names), len(configs)).T

    def _code(self, name: str, value: Any) -> float:
        spec = self.specs[name]
        return (
            float(list(spec["values"]).index(value)) if spec["type"] == "categorical" else self._coordinate(name, value)
        )

    def decode(self, code: Sequence[float]) -> dict[str, Any]:
        """The configuration of one row of `code`: what the row says of inactive hyperparameters is dropped. In a finite
        space the nearest of its list."""
        config = {name: self.decode_value(name, value) for name, value in zip(self.names, code, strict=True)}
        return self.nearest(self._plain(config))

    def decode_value(self, name: str, code: float) -> Any:
        """The value of one hyperparameter from its column of `code`."""
        spec = self.specs[name]
        if spec["type"] == "categorical":
            return spec["values"][round(float(code))]
        if spec["type"] == "ordinal":
            return spec["values"][round(float(code) * (len(spec["values"]) - 1))]
        return self._own(name, self.configspace[name].to_value(float(np.clip(code, 0.0, 1.0))))

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

    def conditional_codes(self) -> dict[int, tuple[int, list[float], float]]:
        """Column of a hyperparameter with a condition -> (the column that decides over it, the codes of that one with
        which it is active, its own code while it is inactive); columns that decide come before those they decide on."""
        found = {}
        for name in self.parents_first:
            if name in self.conditions:
                parent, values = self.conditions[name]
                codes = [self._code(parent, value) for value in values]
                column = self.names.index(name)
                found[column] = (self.names.index(parent), codes, self._code(name, self.stand_ins[name]))
        return found

    def _coordinate(self, name: str, value: Any) -> float:
        return float(self._coordinates(name, [value])[0])

    def _coordinates(self, name: str, values: Sequence[Any]) -> np.ndarray:
        """Unit coordinates of numbers or of an ordinal's values; outside [0, 1] for a number beyond its range
        (a learning rate that was mapped to another model size may lie there)."""
        spec, parameter = self.specs[name], self.configspace[name]
        if spec["type"] == "ordinal":
            place = {value: i / max(len(spec["values"]) - 1, 1) for i, value in enumerate(spec["values"])}
            return np.array([place[value] for value in values])
        scale = np.log if parameter.log else np.asarray
        low, high = scale(float(parameter.lower)), scale(float(parameter.upper))
        return (scale(np.array(values, dtype=np.float64)) - low) / (high - low)

    def validate(self, config: Config) -> dict[str, Any]:
        """The configuration with plain values; a `UsageError` names what is missing, unknown, inactive or out of
        range."""
        for name in config:
            if name not in self.specs:
                raise unknown("hyperparameter", name, self.names)
        for name in self.parents_first:
            if not self.is_active(name, config):
                if name in config:
                    raise UsageError(
                        f"hyperparameter {name}={config[name]!r} is inactive {self._because(name, config)}"
                    )
                continue
            if name not in config:
                raise UsageError(f"hyperparameter {name} is missing from the configuration {dict(config)}")
            scalar = isinstance(config[name], str | int | float)
            if not scalar or not self.configspace[name].legal_value(config[name]):
                raise UsageError(f"hyperparameter {name}={config[name]!r} is not allowed; valid: {self.allowed(name)}")
        return self._plain(config)

    def _because(self, name: str, config: Config) -> str:
        """Why a hyperparameter is inactive, and what to do."""
        parent, values = self.conditions[name]
        here = f"{parent}={config[parent]!r}" if parent in config else f"{parent} inactive too"
        return f"with {here}: it needs {' or '.join(f'{parent}={value!r}' for value in values)}; leave it out"

    def allowed(self, name: str) -> str:
        """What a hyperparameter may be, in words."""
        spec = self.specs[name]
        if "values" in spec:
            return ", ".join(str(v) for v in spec["values"])
        return f"{spec['low']:g} to {spec['high']:g}"

    def _plain(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The active hyperparameters as Python scalars of the type that the space declares, in its order: equal
        configurations have equal keys."""
        return {name: self._own(name, config[name]) for name in self.names if self.is_active(name, config)}

    def _own(self, name: str, value: Any) -> Any:
        spec = self.specs[name]
        if "values" in spec:  # ConfigSpace hands [1, 0.5] back as floats
            return next(own for own in spec["values"] if own == value)
        return float(value) if spec["type"] == "float" else int(value)
