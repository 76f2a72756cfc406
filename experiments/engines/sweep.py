"""One small study on every engine that trains by GRPO: the same base model, task, search space, methods and seed.

Random search is not changed by what it sees, so its configurations are the same on every engine: they are what is
ranked. `jfhpo` sees each engine's own results. Nothing but the engine differs; an engine that is not installed is a gap
in the tables, with the command that fills it (docs/verl.md says how verl is installed).
"""

from types import MappingProxyType

from experiments.sweeps import Sweep

ENGINES = ("mini", "trl", "verl")
RANKED, SEARCHING = "random_search", "jfhpo"
OWN = MappingProxyType({"verl": ("+problem.trainer_settings.held_out_prompts=128",)})
"""verl takes 0.04 CPU seconds for a response, however short: all 512 prompts would cost more than the training."""


def on_engines(size: str, steps: int, rungs: str, trials: int, *more: str) -> MappingProxyType:
    """The same words for every engine but its name; the budget is `trials`, seconds are to spare."""
    words = (f"problem.proxy={size}", f"problem.target={size}", f"problem.max_steps={steps}", f"problem.rungs={rungs}")
    words += (f"max_trials={trials}", "budget=100000", "test_k=2", *more)
    named = {e: ("problem=last_digit", f"problem.trainer={e}", *OWN.get(e, ())) for e in ENGINES}
    return MappingProxyType({engine: (*own, *words) for engine, own in named.items()})


VARIANTS = MappingProxyType({SEARCHING: (f"method={SEARCHING}", "method.initial=3")})
"""Half of its few trials are its own choice."""
SWEEPS = {
    "mini": Sweep((RANKED, SEARCHING), (0,), ENGINES, VARIANTS, on_engines("p", 16, "[4,8,16]", 6)),
    "smoke": Sweep((RANKED,), (0,), ENGINES[:1], targets=on_engines("xs", 4, "[2,4]", 3)),
}
