"""GSM8K, MATH, OpenBookQA, MMLU and the generated tasks, for verl and for TRL, each from one definition.

`load` gives train, validation and test prompts that share no question; `to_verl` and `to_trl` write them as each engine
reads them; `reward`, `compute_score` (verl's signature) and `TrlReward` (TRL's) check an answer in the same way.
"""

from jfhpo.tasks.datasets.definitions import DATASETS
from jfhpo.tasks.datasets.export import to_trl, to_verl, write_folder
from jfhpo.tasks.datasets.rewards import TrlReward, compute_score, reward
from jfhpo.tasks.datasets.splits import Prompts, load, names

__all__ = [
    "DATASETS",
    "Prompts",
    "TrlReward",
    "compute_score",
    "load",
    "names",
    "reward",
    "to_trl",
    "to_verl",
    "write_folder",
]
