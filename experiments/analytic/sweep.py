"""Every method on learning curves by formula, 50 landscapes: a check that it is built right, not of how good it is.

The budget is that of twelve full runs of the target. Scales make other problems smaller; this one costs nothing.
"""

from experiments.benchmark.sweep import METHODS
from experiments.sweeps import Sweep

SIZES = ("problem.proxy=p", "problem.target=l", "problem.max_steps=24", "problem.rungs=[6,12,24]")
CURVES = {"curves": ("problem=curves", *SIZES, "budget=1440")}
SEARCHING = tuple(m for m in METHODS if m != "recipe")
SWEEPS = {
    "mini": Sweep(methods=SEARCHING, seeds=tuple(range(50)), problems=("curves",), targets=CURVES),
    "smoke": Sweep(methods=("random_search", "tpe", "jfhpo"), seeds=(0, 1), problems=("curves",), targets=CURVES),
}
