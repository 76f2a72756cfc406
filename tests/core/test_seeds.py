"""The streams of a study: the method's and the training's have nothing in common."""

from __future__ import annotations

import numpy as np
import torch

from jfhpo.core.seeds import training_seed

SEEDS = range(200)


def words(generator: torch.Generator, count: int = 400) -> set[int]:
    """What a torch generator draws, as 32-bit words; so many that a shift of the stream would be found."""
    drawn = torch.empty(count, dtype=torch.int32).random_(generator=generator)
    return set(drawn.tolist())


def test_a_training_seed_is_a_function_of_the_studys_and_differs_from_every_small_integer():
    derived = [training_seed(seed) for seed in SEEDS]
    assert derived == [training_seed(seed) for seed in SEEDS]
    assert len(set(derived)) == len(SEEDS)
    assert all(max(SEEDS) < seed < 2**32 for seed in derived)
    assert training_seed(0) == 673228719  # studies on disk were trained with it


def test_numpy_and_torch_share_a_stream_for_one_integer_but_not_for_a_derived_one():
    """Why training seeds are derived: the method's `RandomState` and the trainer's generator are one algorithm."""
    method = {int(w) & 0x7FFFFFFF for w in np.random.RandomState(3).randint(0, 2**32, 400, dtype=np.uint32)}
    assert len(method & words(torch.Generator().manual_seed(3))) > 300
    for stream in (2 * training_seed(3), 2 * training_seed(3) + 1):  # the mini trainer's prompt order and sampling
        assert not method & words(torch.Generator().manual_seed(stream))
