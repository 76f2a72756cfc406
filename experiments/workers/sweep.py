"""Every method with 1 to 16 workers and one budget: more workers spend it sooner, and know less when they choose."""

from types import MappingProxyType

from experiments.replay.sweep import ON_RECORDED, ON_SMALL
from experiments.sweeps import Sweep

COMPARED = ("random_search", "hyperband", "asha", "bohb", "tpe", "smac", "jfhpo")
WORKERS = (1, 2, 4, 8, 16)
BUDGET = 400
"""Recorded seconds: about twenty full runs of the target. With 64 workers all of them end in the middle of their first,
and there is nothing to test."""
SEPARATOR = "_w"


def rows(methods: tuple[str, ...], workers: tuple[int, ...], *more: str) -> MappingProxyType:
    """Label -> words: ``asha_w16`` is ASHA with sixteen."""
    return MappingProxyType(
        {f"{m}{SEPARATOR}{n}": (f"method={m}", f"workers={n}", *more) for m in methods for n in workers}
    )


FULL, SMALL = rows(COMPARED, WORKERS, f"budget={BUDGET}"), rows(("random_search", "asha"), (1, 4))
SWEEPS = {
    "replay": Sweep(
        methods=tuple(FULL), seeds=tuple(range(20)), problems=("last_digit-l",), variants=FULL, targets=ON_RECORDED
    ),
    "smoke": Sweep(methods=tuple(SMALL), seeds=(0,), problems=tuple(ON_SMALL), variants=SMALL, targets=ON_SMALL),
}
