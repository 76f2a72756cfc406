"""The table of recorded runs: which one answers for a configuration on a model."""

from __future__ import annotations

import functools
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jfhpo.core.errors import UsageError, unknown
from jfhpo.core.problem import LR
from jfhpo.core.space import config_key
from jfhpo.core.trial import Config
from jfhpo.replay.dataset import AS_IT_IS, DATA, DataSet, load
from jfhpo.trainers.replay.run import Columns, ReplayedRun, replayed

NEAR = 1.5
"""Greatest ratio between the learning rate asked for and the one that was recorded for the same configuration: mapped
by width between two sizes of which one is not the recorded target, it lies between two that were (4/3 at most here)."""


class Table:
    """Runs by model; of several seeds the trial's own (its seed modulo their number)."""

    def __init__(self, data: DataSet):
        self.data, self.space = data, data.space
        self.specs = data.about["space"]
        self._by_config: dict[tuple[str, tuple[Any, ...]], dict[float, dict[int, int]]] = defaultdict(dict)
        """(model, all but the learning rate) -> learning rate -> seed -> number of the run."""
        self._configs: dict[str, list[Config]] = defaultdict(list)
        self._rows: dict[int, Mapping[str, Any]] = {}
        for row in data.runs.to_dict("records"):
            number, model, seed, config = row["run"], row["model"], row["seed"], data.config_of(row)
            self._rows[number] = row
            rates = self._by_config[model, self._others(config)]
            if config.get(LR, 0.0) not in rates:
                self._configs[model].append(config)
            rates.setdefault(config.get(LR, 0.0), {})[seed] = number
        self._columns = {name: data.curves[name].to_numpy() for name in data.curves}
        self._parts = data.curves.groupby("run", sort=False).indices
        self._runs: dict[int, ReplayedRun] = {}
        self._listed: dict[str, tuple[Config, ...]] = {}
        self._codes = {model: self.space.encode(configs) for model, configs in self._configs.items()}

    def _others(self, config: Config) -> tuple[Any, ...]:
        return tuple(config.get(name) for name in self.specs if name != LR)

    def run(self, config: Config, model: str, seed: int) -> ReplayedRun:
        """The recorded run of this configuration on this model; a `UsageError` where there is none."""
        self._check_model(model)
        rates = self._by_config.get((model, self._others(config)))
        if not rates:
            raise self._off(config, model)
        wanted = config.get(LR, 0.0)
        found = min(rates, key=lambda rate: abs(math.log(rate / wanted)) if wanted else 0.0)
        if wanted and not 1 / NEAR <= found / wanted <= NEAR:
            raise self._off(config, model)
        return self._of(rates[found], seed)

    def nearest(self, config: Config, model: str, seed: int) -> ReplayedRun:
        """The run of the recorded configuration that is nearest in `SearchSpace.encode`."""
        self._check_model(model)
        away = ((self._codes[model] - self.space.encode([config])) ** 2).sum(axis=1)
        found = self._configs[model][int(np.argmin(away))]
        return self._of(self._by_config[model, self._others(found)][found.get(LR, 0.0)], seed)

    def _of(self, seeds: dict[int, int], seed: int) -> ReplayedRun:
        """Of a run's recordings with several seeds."""
        known = sorted(seeds)
        number = seeds[known[seed % len(known)]]
        if number not in self._runs:
            self._runs[number] = replayed(self._rows[number], self.columns(number))
        return self._runs[number]

    def listed(self, target: str) -> tuple[Config, ...]:
        """The configurations that a search for this target chooses from: the design as it is, and the recipe with the
        target's own learning rate."""
        if target not in self._listed:
            found = {}
            for row in self._rows.values():
                own = row["transfer"] == AS_IT_IS or (row["configuration"] == 0 and self.data.about["recipe_first"])
                if row["model"] == target and own:
                    config = self.data.config_of(row)
                    found[config_key(config)] = config
            self._listed[target] = tuple(found.values())
        return self._listed[target]

    def columns(self, run: int) -> Columns:
        """A run's part of ``curves``."""
        part = self._parts[run]
        return {name: values[part] for name, values in self._columns.items()}

    def _check_model(self, model: str) -> None:
        if model not in self._configs:
            raise unknown(f"recorded size of {self.data.name}", model, self.data.models)

    def _off(self, config: Config, model: str) -> UsageError:
        count = len(self._configs[model])
        return UsageError(
            f"{dict(config)} is not among the {count} configurations recorded of {self.data.name} on {model}; the "
            "table serves those alone: take one of them, or problem.trainer_settings.serve=surrogate"
        )


@functools.lru_cache(maxsize=8)
def table(name: str, folder: Path = DATA) -> Table:
    """Of a task, read once a process."""
    return Table(load(name, folder))
