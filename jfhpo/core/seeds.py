"""What a study's seed becomes: one stream of random numbers for its method, another for its training runs.

The study's own seed is its method's. Training runs get a seed derived from it by numpy's `SeedSequence`, so that no
method can draw the same numbers as the training it judges: numpy's `RandomState` (which Optuna and SMAC use) and
torch's CPU generator are the same Mersenne Twister and give the same words for the same small integer. Evaluation has
seeds of its own, the same for every study: prompts and draws of a test are part of the measurement.
"""

from __future__ import annotations

import numpy as np

TRAINING = 1
"""Spawn key of the training stream."""


def training_seed(seed: int) -> int:
    """Seed of every training run of the study with this seed: one for all of its configurations, so that they see the
    same prompts in the same order; the same for all methods, so that studies of one seed are pairs. Below 2³²."""
    return int(np.random.SeedSequence(seed, spawn_key=(TRAINING,)).generate_state(1)[0])
