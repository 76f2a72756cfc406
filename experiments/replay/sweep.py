"""Every method on recorded curves, a hundred seeds: problems of the live benchmark, so that both can be compared.

A study differs from its live twin (`experiments.benchmark`) in three things: its space is the list of recorded
configurations, every seed has the same recorded training runs, and its method's own seconds are not charged.
"""

from types import MappingProxyType

from experiments.benchmark.sweep import METHODS, ON_TARGETS
from experiments.sweeps import Sweep

COMPARED = ("last_digit-l", "linear_equation-m3")
"""Names of the live benchmark's."""
AS_RECORDED = ("problem.proxy=p", "problem.max_steps=50", "problem.rungs=[12,25,50]")
"""What scales that make problems smaller would change."""
ON_RECORDED = MappingProxyType({name: ON_TARGETS[name] for name in COMPARED})
ON_SMALL = {"last_digit-m3": ("problem=last_digit", "problem.trainer=replay", "problem.target=m3", *AS_RECORDED)}
SWEEPS = {
    "replay": Sweep(methods=METHODS, seeds=tuple(range(100)), problems=COMPARED, targets=ON_RECORDED),
    "smoke": Sweep(
        methods=("recipe", "random_search", "jfhpo"), seeds=(0, 1), problems=tuple(ON_SMALL), targets=ON_SMALL
    ),
}
