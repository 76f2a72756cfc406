"""SMAC3's multi-fidelity facade (smac 2.x), built so that it can be asked and told by somebody else.

SMAC as it is writes its run history to a folder, draws starting points in an order that changes from process to
process, and searches for ever where every configuration of a space is running. Here it does neither.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import ConfigSpace as CS
from smac import MultiFidelityFacade, Scenario
from smac.acquisition.maximizer import LocalAndSortedRandomSearch
from smac.main.config_selector import ConfigSelector
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.model.random_forest import RandomForest
from smac.runhistory import TrialInfo

from jfhpo.core.trial import Config

MAX_DRAWS = 1000
"""New configurations drawn for one trial, after which the space counts as exhausted: a bracket needs some tens."""
MAX_LEAVES = 2**12
"""Of a tree, and with it the most observations told apart. SMAC has room for 2**20 made whenever a tree is grown, which
takes nearly all the time of a fit; the trees are the same."""


class BoundedSelector(ConfigSelector):
    """SMAC's model-based selection of configurations, which ends where a small space has no more of them."""

    drawn = 0
    """Since the last trial."""

    def __iter__(self) -> Iterator[CS.Configuration]:
        try:
            for config in super().__iter__():
                self.drawn += 1
                if self.drawn > MAX_DRAWS:
                    return
                yield config
        except ConfigurationSpaceExhaustedException:
            return


class Facade(MultiFidelityFacade):
    """Random forest, expected improvement and Hyperband's brackets, by `ask` and `tell`."""

    def ask(self) -> TrialInfo | None:
        """The next trial, or None: nothing to run until a pending one is told (or ever, if none is pending)."""
        self._config_selector.drawn = 0
        try:
            return super().ask()
        except StopIteration:  # no new configurations are left; those that wait for promotion still are
            self.optimizer._trial_generator = iter(self.intensifier)
            return None


def facade(
    space: CS.ConfigurationSpace,
    initial: Sequence[Config],
    *,
    seed: int,
    budgets: tuple[float, float],
    eta: int,
    retrain_after: int,
    min_trials: int,
) -> Facade:
    """SMAC with its defaults but for what is passed.

    Args:
        space: is copied, and the copy seeded.
        initial: configurations tried before the model takes over, in this order.
        budgets: the least and the greatest of a trial.
        eta: Hyperband's; a trial's budget is the greatest divided by a power of it.
        retrain_after: new configurations between two fits of the model.
        min_trials: trials at a budget from which on the model is fitted to that budget and to no smaller one.
    """
    logger = logging.getLogger("smac")
    if logger.level == logging.NOTSET:  # whoever wants to hear SMAC sets its level before
        logger.setLevel(logging.ERROR)
    space = copy.deepcopy(space)
    with tempfile.TemporaryDirectory(prefix="jfhpo-smac-") as folder:  # written when built, and never read
        scenario = Scenario(
            space,
            output_directory=Path(folder),
            deterministic=True,
            n_trials=2**31,  # the study keeps the budget
            min_budget=budgets[0] * (1 - 1e-9),  # log(243) / log(3) is 4.99…9: a bracket would be lost
            max_budget=budgets[1],
            seed=seed,
        )
        return Facade(
            scenario,
            None,
            model=_frugal(Facade.get_model(scenario)),
            acquisition_maximizer=_repeatable(Facade.get_acquisition_maximizer(scenario)),
            initial_design=Facade.get_initial_design(
                scenario, n_configs=0, additional_configs=[CS.Configuration(space, values=dict(c)) for c in initial]
            ),
            intensifier=Facade.get_intensifier(scenario, eta=eta),
            config_selector=BoundedSelector(scenario, retrain_after=retrain_after, min_trials=min_trials),
            logging_level=False,
            overwrite=True,
        )


def _frugal(model: RandomForest) -> RandomForest:
    """Ten small trees, one after the other: nothing is gained from threads or from memory for millions of leaves."""
    model._rf_opts |= {"n_jobs": 1, "max_leaf_nodes": MAX_LEAVES}
    return model


def _repeatable(maximizer: LocalAndSortedRandomSearch) -> LocalAndSortedRandomSearch:
    """Its local search takes its starting points from a set, whose order hangs on the process's hash seed."""
    search = maximizer._local_search
    starts = search._get_init_points_from_previous_configs
    search._get_init_points_from_previous_configs = lambda *args: sorted(starts(*args), key=repr)
    return maximizer
