"""Tribes et al. (arXiv 2312.00949) at laptop size: NOMAD against TPE, 100 evaluations of two epochs each, and others.

``nomad_first`` is the paper's first round: 50 evaluations of three epochs. Its second starts from there, so it is a
command of its own, once the first is finished:

    ./run_all.sh mini experiment=lora_instruction_tuning method=nomad_warm

Every study has as many evaluations as any other, and seconds to spare: the limit is on trials, not on time.
"""

from collections.abc import Mapping
from types import MappingProxyType

from experiments.sweeps import Sweep, Words

FIRST_ROUND = "nomad_first"


def variants(out: str) -> Mapping[str, Words]:
    """The rounds of NOMAD; `out` is where the scale's studies lie."""
    first = ("method=nomad", "max_trials=50", "problem.max_steps=72", "problem.rungs=[18,36,72]")
    found = f"{out}/lora_instruction_tuning/lora_mini/{FIRST_ROUND}"
    return MappingProxyType({FIRST_ROUND: first, "nomad_warm": ("method=nomad", f"method.warm_start={found}")})


FULL = MappingProxyType({"lora_mini": ("problem=lora_mini", "max_trials=100", "budget=5000")})
TINY = MappingProxyType({"lora_mini": ("problem=lora_mini", "max_trials=6", "budget=120")})
METHODS = ("recipe", "random_search", "bohb", "tpe", FIRST_ROUND, "nomad", "jfhpo")
SWEEPS = {
    "bench": Sweep(METHODS, tuple(range(8)), ("lora_mini",), variants=variants("results_bench"), targets=FULL),
    "mini": Sweep(METHODS, tuple(range(5)), ("lora_mini",), variants=variants("results"), targets=FULL),
    "smoke": Sweep(("random_search", "nomad", "jfhpo"), seeds=(0,), problems=("lora_mini",), targets=TINY),
}
