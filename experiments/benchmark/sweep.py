"""Every method in the table of methods, on every problem and two of its targets: the paper's Table 2, and more rows.

Nothing is listed that can be found: a new file in ``baselines/`` or ``conf/problem/`` is a row or columns more.
"""

from types import MappingProxyType

from experiments.config import groups
from experiments.gather import method_rank
from experiments.sweeps import Sweep
from jfhpo.study.methods import methods
from jfhpo.tasks import TASKS

NOT_COMPARED = ("recording",)
"""Methods that neither search nor give one configuration: they record curves for other experiments."""
TARGETS = MappingProxyType({"m3": 60, "l": 100})
"""Sizes that configurations are for (the paper has two to three models per task), and the budget of a study in seconds:
about five full runs of the size."""
ON_TARGETS = MappingProxyType(
    {f"{problem}-{size}": (f"problem={problem}", f"problem.target={size}", f"budget={budget}")
     for problem in groups()["problem"] if problem in TASKS for size, budget in TARGETS.items()}
)  # fmt: skip
PAPER_METHODS = ("recipe", "random_search", "hyperband", "bohb", "jfhpo_paper", "jfhpo")
"""The paper's rows, and Hyperband, which BOHB is built on."""
PAPER_FAMILIES = MappingProxyType({"llama3_1": "LLaMA-3.1 8B", "qwen2_5": "Qwen-2.5 7B", "qwen3": "Qwen-3 14B"})
"""``family=`` -> the paper's name of its target."""
PAPER_DATA = ("gsm8k", "math", "openbookqa", "mmlu")
PAPER = MappingProxyType(
    {f"{data}-{family}": (f"problem={data}", f"family={family}") for family in PAPER_FAMILIES for data in PAPER_DATA}
)
METHODS = tuple(sorted(set(methods()) - set(NOT_COMPARED), key=method_rank))
SWEEPS = {
    "full": Sweep(methods=METHODS, seeds=tuple(range(5)), problems=tuple(ON_TARGETS), targets=ON_TARGETS),
    "paper": Sweep(methods=PAPER_METHODS, seeds=(0,), problems=tuple(PAPER), targets=PAPER),
    "smoke": Sweep(methods=("recipe", "random_search", "jfhpo"), seeds=(0,)),
}
