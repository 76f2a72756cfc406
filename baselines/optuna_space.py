"""A `SearchSpace` in Optuna's words, and studies that are made anew for every proposal.

A sampler sees a fresh in-memory study of what was told and what is pending, and is seeded by the caller: a proposal is
then a function of (seed, results, pending configurations) alone, and no state has to survive a kill.

Ordinals are their index, an integer from 0 to k − 1: like `SearchSpace.encode`, this keeps their order and takes their
spacing from the list. Inactive hyperparameters of a conditional space are left out (``absent``), which TPE understands
if `group` is set: it then models each set of hyperparameters that are active together jointly (Optuna's multivariate
sampler otherwise models only those that every trial has, and draws the others one by one). A sampler that needs all
of them in each trial, such as a GP, sees inactive ones at the space's stand-ins for them (``filled``), as in SMAC.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from jfhpo.core.space import SearchSpace, config_key
from jfhpo.core.trial import Config

if TYPE_CHECKING:
    import optuna

Told = Sequence[tuple[Config, float | None]]
"""Configurations with their scores, higher is better; None where the trial failed."""
FAILURES = ("worst", "ignore")
"""What a failed trial teaches: the worst score told, or nothing but not to try it again."""
FAILURES_PER_SCORE = 9
"""Failures that are told at most for each score."""


def seed_of(*words: int) -> int:
    """A sampler's seed, 0 to 2³² − 1, from the method's seed and whatever else tells its draws apart."""
    return int(np.random.SeedSequence(words).generate_state(1)[0])


@contextmanager
def quiet() -> Iterator[None]:
    """Optuna without a line for every new study, a warning for every search that has converged and one for every
    option that is experimental. What is said is a setting of the whole process, and is put back."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.ERROR))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


class OptunaSpace:
    """Configurations to Optuna's parameters and back, studies of them, and proposals from these."""

    def __init__(self, space: SearchSpace, inactive: str = "absent"):
        self.space = space
        self.distributions = {name: _distribution(space.specs[name]) for name in space.parents_first}
        """Hyperparameter -> Optuna's distribution, parents before the hyperparameters that depend on them."""
        self._filled = inactive == "filled"

    def params(self, config: Config) -> dict[str, Any]:
        """The configuration as Optuna's parameters. A number beyond its range (a learning rate that was mapped to
        another model size may lie there) is the nearest end of it: Optuna refuses anything else."""
        whole = self.space.filled(config) if self._filled else config
        return {name: self._param(name, value) for name, value in whole.items()}

    def _param(self, name: str, value: Any) -> Any:
        spec = self.space.specs[name]
        return list(spec["values"]).index(value) if spec["type"] == "ordinal" else _plain(spec, value)

    def config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration of Optuna's parameters: plain values of what is active, in the space's order."""
        return self._read(params.__getitem__)

    def _read(self, param: Callable[[str], Any]) -> dict[str, Any]:
        config: dict[str, Any] = {}
        for name in self.distributions:
            if self.space.is_active(name, config):
                spec = self.space.specs[name]
                config[name] = spec["values"][param(name)] if spec["type"] == "ordinal" else _plain(spec, param(name))
        return {name: config[name] for name in self.space.names if name in config}

    def study(
        self, sampler: optuna.samplers.BaseSampler, told: Told, pending: Sequence[Config] = (), failures: str = "worst"
    ) -> optuna.Study:
        """A new study in memory that maximises: completed trials in the order of `told`, then running ones.

        A failure counts as just below the worst score told, or with ``ignore`` not at all. Samplers take the best for
        good even if all are bad (TPE: one in ten), so that only the latest nine failures for each score are told, and
        none before there is a score: a failure is then never among the good ones.
        """
        import optuna
        from optuna.trial import TrialState

        scores = [score for _, score in told if score is not None]
        failed = [i for i, (_, score) in enumerate(told) if score is None]
        counted = failed[max(0, len(failed) - FAILURES_PER_SCORE * len(scores)) :] if failures == "worst" else []
        with quiet():
            study = optuna.create_study(direction="maximize", sampler=sampler)
        for i, (config, score) in enumerate(told):
            if score is not None:
                study.add_trial(self._trial(config, TrialState.COMPLETE, score))
            elif i in counted:
                study.add_trial(self._trial(config, TrialState.COMPLETE, float(np.nextafter(min(scores), -np.inf))))
        for config in pending:
            study.add_trial(self._trial(config, TrialState.RUNNING))
        return study

    def _trial(self, config: Config, state: Any, value: float | None = None) -> optuna.trial.FrozenTrial:
        from optuna.trial import create_trial

        params = self.params(config)
        distributions = {name: self.distributions[name] for name in params}
        return create_trial(state=state, value=value, params=params, distributions=distributions)

    def suggest(self, study: optuna.Study) -> dict[str, Any]:
        """What the study's sampler proposes next; it is asked for a hyperparameter only where that is active."""
        with quiet():
            trial = study.ask()
            return self._read(lambda name: _suggest(trial, name, self.distributions[name]))

    def propose(
        self,
        samplers: Iterable[optuna.samplers.BaseSampler],
        told: Told,
        pending: Sequence[Config] = (),
        failures: str = "worst",
    ) -> dict[str, Any]:
        """The first suggestion of these samplers that is neither told nor pending: all configurations are trained
        with one seed, so that a repetition teaches nothing. Where each repeats, the last one. In a finite space it is
        the nearest of those that are left."""
        tried = {config_key(config) for config in (*(config for config, _ in told), *pending)}
        config: dict[str, Any] = {}
        for sampler in samplers:
            suggested = self.suggest(self.study(sampler, told, pending, failures))
            config = self.space.nearest(suggested, besides=tried)
            if config_key(config) not in tried:
                break
        return config


def _plain(spec: Mapping[str, Any], value: Any) -> Any:
    """A categorical's value as it is, a number as a Python scalar within its range."""
    if spec["type"] == "categorical":
        return value
    scalar = float if spec["type"] == "float" else int
    return scalar(min(max(value, spec["low"]), spec["high"]))


def _distribution(spec: Mapping[str, Any]) -> optuna.distributions.BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if spec["type"] == "categorical":
        return CategoricalDistribution(list(spec["values"]))
    if spec["type"] == "ordinal":
        return IntDistribution(0, len(spec["values"]) - 1)
    if spec["type"] == "integer":
        return IntDistribution(int(spec["low"]), int(spec["high"]), log=bool(spec.get("log", False)))
    return FloatDistribution(float(spec["low"]), float(spec["high"]), log=bool(spec.get("log", False)))


def _suggest(trial: optuna.Trial, name: str, distribution: Any) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    suggest = trial.suggest_int if isinstance(distribution, IntDistribution) else trial.suggest_float
    return suggest(name, distribution.low, distribution.high, log=distribution.log)
