"""The main job: JF-HPO, BOHB, random search and the recipe within one budget (the paper's Table 2 and efficiency table)."""

from experiments.sweeps import Sweep

SWEEPS = {
    "bench": Sweep(methods=("recipe", "random_search", "bohb", "jfhpo_paper", "jfhpo"), seeds=tuple(range(8))),
    "mini": Sweep(methods=("recipe", "random_search", "bohb", "jfhpo"), seeds=(0, 1)),
    "smoke": Sweep(methods=("recipe", "random_search", "jfhpo"), seeds=(0,)),
}
