"""The main job: JF-HPO and what the paper measures it against within one budget (its Table 2 and efficiency table)."""

from experiments.sweeps import Sweep

SWEEPS = {
    "bench": Sweep(methods=("recipe", "random_search", "bohb", "jfhpo_paper", "jfhpo"), seeds=tuple(range(8))),
    "mini": Sweep(methods=("recipe", "random_search", "bohb", "jfhpo"), seeds=(0, 1)),
    "replay": Sweep(methods=("recipe", "random_search", "bohb", "jfhpo_paper", "jfhpo"), seeds=tuple(range(20))),
    "smoke": Sweep(methods=("recipe", "random_search", "jfhpo"), seeds=(0,)),
}
