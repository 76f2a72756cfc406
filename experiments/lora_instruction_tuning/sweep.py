"""Tribes et al. (arXiv 2312.00949) at laptop size: NOMAD against TPE, 100 evaluations of two epochs each, and others.

``nomad_first`` is the paper's first round: 50 evaluations of three epochs. Its second starts from there:

    ./run_all.sh mini experiment=lora_instruction_tuning method=nomad label=nomad_warm \
        method.warm_start=results/lora_instruction_tuning/lora_mini/nomad_first seed=0

Every study has as many evaluations as any other, and seconds to spare: the limit is on trials, not on time.
"""

from types import MappingProxyType

from experiments.sweeps import Sweep

FIRST_ROUND = "nomad_first"
VARIANTS = MappingProxyType(
    {FIRST_ROUND: ("method=nomad", "max_trials=50", "problem.max_steps=72", "problem.rungs=[18,36,72]")}
)
FULL = MappingProxyType({"lora_mini": ("problem=lora_mini", "max_trials=100", "budget=5000")})
TINY = MappingProxyType({"lora_mini": ("problem=lora_mini", "max_trials=6", "budget=120")})
METHODS = ("recipe", "random_search", "bohb", "tpe", FIRST_ROUND, "nomad", "jfhpo")
SWEEPS = {
    "bench": Sweep(METHODS, seeds=tuple(range(8)), problems=("lora_mini",), variants=VARIANTS, targets=FULL),
    "mini": Sweep(METHODS, seeds=tuple(range(5)), problems=("lora_mini",), variants=VARIANTS, targets=FULL),
    "smoke": Sweep(("random_search", "nomad", "jfhpo"), seeds=(0,), problems=("lora_mini",), targets=TINY),
}
