"""JF-HPO with one mechanism changed at a time, the paper's literal version, and what both are measured against."""

from types import MappingProxyType

from experiments.sweeps import Sweep

VARIANTS = MappingProxyType(
    {
        "no_proxy": ("method=jfhpo", "method.proxy=false"),
        "no_checkpoint_reuse": ("method=jfhpo", "method.checkpoint_reuse=false"),
        "no_early_stopping": ("method=jfhpo", "method.early_stopping=none"),
        "scaling_law_rule": ("method=jfhpo", "method.early_stopping=scaling_law"),
        "no_lr_mapping": ("method=jfhpo", "method.lr_transfer=none"),
        "smaller_proxy": ("method=jfhpo", "problem.proxy=xs"),
    }
)
ROWS = ("recipe", "random_search", "jfhpo_paper", "jfhpo", *VARIANTS)
RECORDED = tuple(row for row in ROWS if row != "smaller_proxy")
"""xs is not recorded."""
SWEEPS = {
    "bench": Sweep(methods=ROWS, seeds=tuple(range(8)), variants=VARIANTS),
    "mini": Sweep(methods=ROWS, seeds=(0, 1), variants=VARIANTS),
    "replay": Sweep(methods=RECORDED, seeds=tuple(range(100)), variants=VARIANTS),
    "smoke": Sweep(methods=ROWS, seeds=(0,), variants=VARIANTS),
}
