"""A recording as the surrogate would have met it: what a search had seen, and which full runs it is asked about.

Every configuration of the recording has its whole curve on the proxy (its learning rate mapped by width) and on the
target. A split takes two thirds of them for training and shows of each what a search might have: the proxy at the
rungs up to a random one and, of every third, the target up to a random one too. Held out are full runs on the target
of the training configurations that were not seen there in full (`SEEN`: what a recommendation needs), and of the
other third (`NEW`: what a proposal needs).

Coordinates are those of `jfhpo.method.features`, x = [φ, s, m], but for one thing: a record says which values were
trained, not which were allowed, so φ is in unit coordinates over the recorded range. A Sobol design nearly fills it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from experiments.gather import Records
from experiments.recording.design import BY_WIDTH, CONFIGURATION, accuracies, recorded_steps
from experiments.sensitivity.surrogate import axes_of, encode
from jfhpo.core.space import config_key

PROXY, TARGET = 0, 1
"""Model size m of an observation."""
SEEN, NEW = "seen on the proxy", "new"
"""Kinds of held-out runs."""
TRAINING = 2 / 3
"""Share of the configurations that are for training."""
ON_TARGET = 1 / 3
"""Share of those that were also tried on the target."""
FRACTIONS = (1 / 4, 1 / 2, 1)
"""Of a full run: the rungs of a search are the recorded steps nearest to these."""


@dataclass(frozen=True)
class Curves:
    """What was recorded of n different configurations at R rungs."""

    phi: np.ndarray
    """Unit coordinates of the configurations, shape (n, D)."""
    rungs: tuple[int, ...]
    """Steps, rising; the last is that of a full run."""
    accuracy: np.ndarray
    """Validation accuracy, shape (n, 2, R): on the proxy, then on the target. NaN where a run was not validated."""
    left_out: int
    """Configurations that are not here: one that repeats another, or without a full run on the target."""
    runs: tuple[tuple[tuple | None, tuple | None], ...] = ()
    """Names (KEYS and trial) of each configuration's runs, on the proxy and on the target; None where there is none."""

    def x(self, configuration: np.ndarray, model: np.ndarray, rung: np.ndarray) -> np.ndarray:
        """[φ, s, m] of b observations, shape (b, D + 2); s = log r / log r_max, m = 0 on the proxy, 1 on the target."""
        s = np.log(self.rungs) / math.log(max(self.rungs[-1], 2))
        return np.column_stack([self.phi[configuration], s[rung], model])


@dataclass(frozen=True)
class Split:
    """Which observations are known and which are held out."""

    known: np.ndarray
    """(configuration, model, rung) of each training observation, shape (b, 3)."""
    held_out: dict[str, np.ndarray]
    """`SEEN` and `NEW`: configurations whose full run on the target is held out."""


def curves(records: Records, problem: str) -> Curves:
    """The configurations of all the problem's studies that have a full run on the target; of those that repeat one
    another (each design begins with the recipe) the first. A failed run counts as accuracy 0."""
    table, steps = accuracies(records, problem), recorded_steps(records, problem)
    rungs = nearest_steps(steps)
    proxies = set(records.of(problem).studies["proxy"].dropna())
    on_target = table["on_target"].astype(bool)  # of no rows it has no type
    cheap = table[table["model"].isin(proxies) & ~on_target & (table["transfer"] == BY_WIDTH)]
    target = table[on_target].set_index(CONFIGURATION)
    designed = target[~target["target_config"].map(config_key).duplicated()]
    kept = designed[designed[steps[-1]].notna()] if steps else designed
    on_proxy = cheap.set_index(CONFIGURATION).reindex(kept.index)
    configs = list(kept["target_config"])
    accuracy = [frame[list(rungs)].to_numpy(float) for frame in (on_proxy, kept)]
    return Curves(
        phi=encode(axes_of(list(target["target_config"])), configs),
        rungs=rungs,
        accuracy=np.stack(accuracy, axis=1),
        left_out=len(target) - len(kept),
        runs=tuple(zip(_names(on_proxy), _names(kept), strict=True)),
    )


def _names(frame: pd.DataFrame) -> list[tuple | None]:
    """KEYS and trial of the runs in a frame with index CONFIGURATION."""
    studies = frame.index.droplevel("configuration")
    return [
        None if pd.isna(trial) else (*study, int(trial)) for study, trial in zip(studies, frame["trial"], strict=True)
    ]


def nearest_steps(steps: Sequence[int]) -> tuple[int, ...]:
    """The recorded steps nearest to `FRACTIONS` of the last, each once, rising."""
    return tuple(sorted({min(steps, key=lambda step: abs(step - f * steps[-1])) for f in FRACTIONS} if steps else ()))


def split(recorded: Curves, seed: int) -> Split:
    """A random split, the same for the same seed. What was not recorded is not known."""
    rng = np.random.default_rng(seed)
    n, last = len(recorded.phi), len(recorded.rungs)
    order = rng.permutation(n)
    training, new = np.split(order, [round(TRAINING * n)])
    tried = training[: round(ON_TARGET * len(training))]  # the order is random
    known = []
    for model, configurations in ((PROXY, training), (TARGET, tried)):
        for configuration in configurations:
            known += [(configuration, model, rung) for rung in range(rng.integers(last) + 1)]
    known = [place for place in known if not math.isnan(recorded.accuracy[place])]
    complete = {c for c, model, rung in known if (model, rung) == (TARGET, last - 1)}
    seen = np.array([c for c in training if c not in complete], dtype=int)
    return Split(np.array(known, dtype=int).reshape(-1, 3), {SEEN: seen, NEW: new})
