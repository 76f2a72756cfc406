"""Whether a law over model sizes foretells a size that was not trained, the target, from the smaller models' curves.

Two scopes: the curves of one configuration (learning rates mapped by width), and those of all of them together, as the
paper has it, where the law knows a run by its initial reward and its model's size alone. Of the target a law is told
the size and the initial reward, the mean of the first `INITIAL` steps; what it foretells is the final reward, the
mean of the last. Beside it stand what needs no law (the final reward of the largest smaller model; a straight line
through the smaller models' over log parameters), and a law fitted to the first 40 % of the target's own run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from experiments.gather import KEYS, Records
from experiments.recording.design import BY_WIDTH, CONFIGURATION, models, runs
from experiments.scaling_law.analysis import FINAL, HEADLINE, median_interval
from jfhpo.core.trial import Status
from jfhpo.dynamics.joint_law import SizedCurve, fit_saturation, fit_sigmoid
from jfhpo.dynamics.scaling_law import LEAST, fit, progress_of

INITIAL = 3
JOINT: dict[str, Callable[[Sequence[SizedCurve]], Callable[..., np.ndarray]]] = {
    "version 1": fit_sigmoid,
    "version 2": fit_saturation,
    "version 2 from R₀": lambda curves: fit_saturation(curves, from_initial=True),
}
EACH, TOGETHER = "each configuration", "all together"
LARGEST, LINE, OWN = "largest smaller model", "line over log size", f"own first {100 * HEADLINE:.0f} %"
Group = Mapping[str, np.ndarray]
"""Model -> rewards of one configuration's run on it."""


def groups_of(records: Records, problem: str) -> tuple[list[str], list[Group]]:
    """The problem's models, smallest first and the target last, and of every configuration with a completed run on
    each of them its rewards; on smaller models those with the learning rate mapped by width."""
    here = records.of(problem)
    table = runs(here)
    wanted = table[table["on_target"].astype(bool) | (table["transfer"] == BY_WIDTH)]
    wanted = wanted[wanted["status"] == Status.COMPLETED]
    steps = here.steps.sort_values("step").groupby([*KEYS, "trial"])["reward_mean"]
    rewards = {key: values.to_numpy(float) for key, values in steps}
    names, groups = models(table), []
    for _, members in wanted.groupby(CONFIGURATION, sort=False):
        keys = {run.model: (*(getattr(run, k) for k in KEYS), run.trial) for run in members.itertuples()}
        if set(keys) == set(names):
            groups.append({model: rewards[keys[model]] for model in names})
    return names, groups


def held_out_size(names: Sequence[str], groups: Sequence[Group], log_size: Mapping[str, float]) -> pd.DataFrame:
    """One row per configuration (its number) and ``forecast``: ``scope`` and ``error`` of the target's final reward.
    The target is the last of `names`; `log_size` is log10 of each model's parameters. Empty where there are fewer than
    two smaller models or the runs are too short to be fitted."""
    *smaller, target = names
    if len(smaller) < 2 or any(len(group[target]) < LEAST + FINAL for group in groups):
        return pd.DataFrame(columns=["configuration", "scope", "forecast", "error"])

    def sized(group: Group, model: str) -> SizedCurve:
        return SizedCurve(group[model], len(group[model]), log_size[model], float(group[model][:INITIAL].mean()))

    together = {name: law([sized(g, m) for g in groups for m in smaller]) for name, law in JOINT.items()}
    rows = []
    for number, group in enumerate(groups):
        own = sized(group, target)
        at, truth = progress_of(own.horizon, own.horizon)[-FINAL:], float(own.rewards[-FINAL:].mean())
        ends = [float(group[model][-FINAL:].mean()) for model in smaller]
        line = np.polyfit([log_size[model] for model in smaller], ends, 1)
        told = {(EACH, LARGEST): ends[-1], (EACH, LINE): float(np.clip(np.polyval(line, own.size), 0, 1))}
        each = {name: law([sized(group, model) for model in smaller]) for name, law in JOINT.items()}
        for scope, laws in ((EACH, each), (TOGETHER, together)):
            for name, law in laws.items():
                told[scope, name] = float(np.clip(law(at, own.size, own.initial), 0, 1).mean())
        prefix = own.rewards[: max(LEAST, round(HEADLINE * own.horizon))]
        told[EACH, OWN] = float(fit(prefix, own.horizon, reward_range=(0.0, 1.0)).expected(at).mean())
        rows += [
            {"configuration": number, "scope": scope, "forecast": name, "error": value - truth}
            for (scope, name), value in told.items()
        ]
    return pd.DataFrame(rows)


def size_table(told: pd.DataFrame) -> pd.DataFrame:
    """One row per forecast and scope: ``configurations``, ``median`` absolute error with its 95 % interval ``low`` to
    ``high``, ``mean`` absolute error and ``bias`` (median error)."""
    rows = []
    for (scope, name), part in told.groupby(["scope", "forecast"], sort=False):
        absolute = part["error"].abs()
        low, high = median_interval(absolute.to_numpy(float), part["configuration"].astype(str))
        rows.append(
            {"scope": scope, "forecast": name, "configurations": len(part), "median": absolute.median(), "low": low}
            | {"high": high, "mean": absolute.mean(), "bias": part["error"].median()}
        )
    names = ["scope", "forecast", "configurations", "median", "low", "high", "mean", "bias"]
    return pd.DataFrame(rows, columns=names)
