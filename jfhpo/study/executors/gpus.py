"""Which GPUs of this machine a worker sees: its own, and where there are too few for all workers, in turn the same."""

from __future__ import annotations

import os
from collections.abc import Sequence

VISIBLE = "CUDA_VISIBLE_DEVICES"


def visible() -> list[str]:
    """Ids of the GPUs that this process may use, as `VISIBLE` lists them; none of them is touched."""
    import torch

    count = torch.cuda.device_count()
    listed = os.environ.get(VISIBLE)
    return (listed.split(",") if listed is not None else [str(i) for i in range(count)])[:count]


def of_worker(number: int, each: int, ids: Sequence[str]) -> dict[str, str]:
    """The environment that shows worker `number` (from 0) `each` of the GPUs `ids`; empty where it is to see all of
    them (`each` is 0), or where there are fewer."""
    groups = len(ids) // each if each else 0
    if not groups:
        return {}
    first = number % groups * each
    return {VISIBLE: ",".join(ids[first : first + each])}
