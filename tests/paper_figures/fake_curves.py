"""A recording whose rewards follow one law: a saturation from R₀ = .2, its τ a power of the model's size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from tests.paper_figures.fake_recording import RATIO
from tests.paper_figures.fake_results import FakeStudy

STEPS, RUNGS = 24, (6, 12, 24)
SIZES = {"xs": 25_000, "p": 60_000, "l": 800_000}
"""Parameters."""
POWER = -0.5
"""κ: log τ falls by so much per decade of parameters."""
NOISE = 0.004
PER_STUDY = 6


def reward(model: str, tau: float, plateau: float, steps: np.ndarray) -> np.ndarray:
    """Mean reward of the policy after `steps` steps; τ is in full runs, at a million parameters."""
    at_size = tau * math.exp(POWER * (math.log10(SIZES[model]) - 6))
    return plateau - (plateau - 0.2) * np.exp(-steps / STEPS / at_size)


def recorded_by_law(out: Path) -> None:
    """Two studies of six configurations, trained as `baselines.recording` does; every third levels out early."""
    rng = np.random.default_rng(0)
    for seed in range(2):
        settings = {"experiment": "recording", "rungs": list(RUNGS), "max_steps": STEPS, "label": "sobol"}
        study = FakeStudy(out, "sobol", seed, **settings)
        for i in range(PER_STUDY):
            tau, plateau = (0.06 if i % 3 == 0 else float(rng.uniform(0.15, 0.3))), float(rng.uniform(0.5, 0.9))
            config = {"lr": 1e-4 * (i + 1), "kl_loss_coef": float(rng.uniform(0.001, 0.1))}
            for model, factors in (("xs", (1.0, RATIO["xs"])), ("p", (1.0, RATIO["p"])), ("l", (1.0,))):
                for factor in factors:
                    after = reward(model, tau, plateau, np.arange(STEPS + 1))
                    seen = np.clip(after[:-1] + rng.normal(0, NOISE, STEPS), 0, 1)
                    own = {**config, "lr": config["lr"] * factor}
                    study.run(model, STEPS, {r: float(after[r]) for r in RUNGS}, config=own, rewards=seen.tolist())
        study.finish(0.9, 0.9)
