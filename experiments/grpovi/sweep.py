"""GRPO and GRPOVI with one configuration each on the proxy, rewarded for every right working step; nothing is searched.

The configuration is the VeRL recipe's with n = 8 and a learning rate of 3e-4, of 1e-4, 3e-4 and 1e-3 the one with which
GRPO ends highest (seed 7, both tasks): the comparison is at GRPO's own best.
"""

from types import MappingProxyType

from experiments.sweeps import Sweep

RUN = ("method=recording", "method.configs=1", "method.lr_transfer=none")
"""The recipe, trained in full and validated at every rung."""
CONFIGURATION = "+problem.recipe={lr_at_width: [3e-4, 48], rollout_n: 8}"
VARIANTS = MappingProxyType(
    {
        "grpo": (*RUN, "+problem.trainer_settings={advantage: grpo}"),
        "grpovi": (*RUN, "+problem.trainer_settings={advantage: grpovi, grpovi_ties: equal}"),
        "grpovi_by_position": (*RUN, "+problem.trainer_settings={advantage: grpovi, grpovi_ties: position}"),
    }
)
TASKS = ("last_digit", "linear_equation")
ON_P = ("problem.proxy=p", "problem.target=p", "+problem.trainer_settings={reward: graded}")
RUNGS = "problem.rungs=[2,4,8,12,17,25,33,42,50]"
GRADED = MappingProxyType({f"{t}-graded": (f"problem={t}", *ON_P, CONFIGURATION, RUNGS) for t in TASKS})
SMALL = MappingProxyType({f"{TASKS[0]}-graded": (f"problem={TASKS[0]}", *ON_P, CONFIGURATION)})
SWEEPS = {
    "mini": Sweep(tuple(VARIANTS), tuple(range(8)), tuple(GRADED), VARIANTS, GRADED),
    "smoke": Sweep(tuple(VARIANTS), (0,), tuple(SMALL), VARIANTS, SMALL),
}
