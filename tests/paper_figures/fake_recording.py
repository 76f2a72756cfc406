"""Writes recordings as `baselines.recording` leaves them: every configuration on each model, proxies twice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jfhpo.core.trial import Cost, Status
from tests.paper_figures.fake_results import FakeStudy

STEPS = (4, 8)
RATIO = {"xs": 4.0, "p": 2.0}
"""Width of the target by that of the model."""
COST = {"xs": Cost(0.1, 10, 1e7), "p": Cost(0.25, 10, 1e8), "l": Cost(1.0, 10, 1e9)}
"""Per step."""

Curve = Mapping[int, float]


def recording(out: Path, seed: int = 0, **study: Any) -> FakeStudy:
    """An empty recording of `STEPS` with proxy p and target l."""
    settings = {"experiment": "recording", "rungs": list(STEPS), "max_steps": STEPS[-1], "label": "sobol"}
    return FakeStudy(out, "sobol", seed, **(settings | study))


def record(study: FakeStudy, config: Mapping[str, Any], curves: Mapping[tuple[str, str] | str, Curve | int]) -> None:
    """One configuration: its curve {step: accuracy} on each ``(proxy, transfer)`` in their order, then on the target's
    name. A whole number instead of a curve is the step that the run failed after, having been validated at 0.9."""
    for run, curve in curves.items():
        model, transfer = (run, "none") if isinstance(run, str) else run
        lr = config["lr"] * (RATIO[model] if transfer == "width" else 1.0)
        told: dict[str, Any] = {}
        if isinstance(curve, int):
            told = {"status": Status.FAILED, "reason": "loss is nan", "steps_done": curve}
            curve = dict.fromkeys([s for s in STEPS if s <= told["steps_done"]], 0.9)
        study.run(model, STEPS[-1], dict(curve), config={**config, "lr": lr}, cost=COST[model], **told)


def flat(accuracy: float) -> Curve:
    """The same accuracy at every step."""
    return dict.fromkeys(STEPS, accuracy)


def by_ranks(out: Path, proxy: list[float], mapped: list[float], target: list[float]) -> None:
    """A finished recording of one configuration per number: accuracies at every step on p with the learning rate as
    it is, on p with it mapped, and on l."""
    study = recording(out)
    for i, (x, m, y) in enumerate(zip(proxy, mapped, target, strict=True)):
        config = {"lr": 1e-4 * (i + 1), "kl_loss_coef": 0.01 * (i + 1)}
        record(study, config, {("p", "none"): flat(x), ("p", "width"): flat(m), "l": flat(y)})
    study.finish(0.9, 0.9)


def sixteen(out: Path, seed: int = 0) -> None:
    """Sixteen configurations whose accuracy on xs, p and l is a function of the learning rate alone: it rises to
    lr = 1e-3 on the target, where it collapses, and to as many times more on a smaller model as it is narrower."""
    study, rng = recording(out, seed), np.random.default_rng(seed)
    for i in range(16):
        config = {
            "lr": float(10 ** rng.uniform(-5, -2)), "lr_scheduler": ("constant", "cosine")[i % 2],
            "clip_ratio": (0.1, 0.2, 0.3)[i % 3], "kl_loss_coef": float(10 ** rng.uniform(-3, -1)),
        }  # fmt: skip
        runs: dict[Any, Curve] = {}
        for model in ("xs", "p"):
            for transfer, factor in (("none", 1.0), ("width", RATIO[model])):
                runs[model, transfer] = flat(hump(config["lr"] * factor / RATIO[model]))
        record(study, config, runs | {"l": flat(hump(config["lr"]))})
    study.finish(0.9, 0.9)


def hump(lr: float) -> float:
    return 0.9 + 0.2 * np.log10(lr / 1e-3) if lr <= 1e-3 else 0.05 + 1e-3 / lr / 100


def smoke(out: Path) -> None:
    """What the smoke scale leaves: four configurations, one proxy xs, target p, no extra model."""
    study = recording(out, proxy="xs", target="p", scale="smoke")
    for i, accuracy in enumerate((0.1, 0.2, 0.15, 0.2)):
        config = {"lr": 10.0 ** (-5 + i), "lr_scheduler": ("constant", "cosine")[i % 2], "kl_loss_coef": 0.01 * (i + 1)}
        runs = {("xs", "none"): flat(0.1), ("xs", "width"): flat(accuracy), "p": flat(accuracy)}
        record(study, config, runs)
    study.finish(0.2, 0.2, k=2)
