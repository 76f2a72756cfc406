"""The response surface on known functions: exact shares where there is no noise, and no effect where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.sensitivity import response_surface, surrogate


def configs(n: int = 60) -> list[dict]:
    rng = np.random.default_rng(3)
    return [
        {
            "lr": float(10 ** rng.uniform(-5, -2)),
            "kl": float(10 ** rng.uniform(-3, -1)),
            "rollouts": int(rng.choice([4, 8, 16])),
            "schedule": str(rng.choice(["constant", "cosine"])),
            "fixed": 7,
        }
        for _ in range(n)
    ]


def rows(accuracy, of: list[dict]) -> dict[str, dict]:
    axes = surrogate.axes_of(of)
    return {row["hyperparameter"]: row for row in response_surface.of_one_model(axes, of, np.asarray(accuracy))}


def test_the_columns_are_first_and_second_order():
    of = configs()
    columns = response_surface.terms(surrogate.axes_of(of), of)
    assert list(columns) == [
        "lr", "kl", "rollouts", "schedule", "lr·lr", "kl·kl", "lr·kl", "lr·rollouts", "lr·schedule",
    ]  # fmt: skip
    assert columns["lr·lr"].to_numpy() == pytest.approx(columns["lr"].to_numpy() ** 2)
    assert columns["lr·kl"].to_numpy() == pytest.approx((columns["lr"] * columns["kl"]).to_numpy())


def test_a_surface_of_second_order_is_found_whole():
    of = configs()
    lr, kl = (np.log10([c[name] for c in of]) for name in ("lr", "kl"))
    found = rows(0.8 - 0.1 * (lr + 3.5) ** 2 + 0.05 * kl + 1e-4 * np.random.default_rng(0).standard_normal(60), of)
    assert found["lr"]["r2"] == pytest.approx(1.0, abs=1e-4)
    assert found["lr"]["share"] > 5 * found["kl"]["share"] > 0.2
    assert found["lr"]["p_holm"] < 1e-6 and found["kl"]["p_holm"] < 1e-6
    assert found["rollouts"]["p_holm"] > 0.05 and found["schedule"]["p_holm"] > 0.05
    assert "fixed" not in found


def test_noise_alone_is_rarely_taken_for_an_effect():
    """Over 25 draws of pure noise at most a few have any hyperparameter below 5 % after the correction."""
    of, rng = configs(), np.random.default_rng(1)
    wrong = sum(min(r["p_holm"] for r in rows(rng.standard_normal(60), of).values()) < 0.05 for _ in range(25))
    assert wrong <= 5  # at 5 % a draw, more than 5 of 25 happen once in 800 times


def test_too_few_runs_have_no_surface():
    of = configs(18)
    found = rows(np.random.default_rng(0).standard_normal(18), of)
    assert all(np.isnan(row["p"]) and row["n"] == 18 and row["terms"] == 9 for row in found.values())
    flat = rows(np.full(60, 0.5), configs())
    assert all(np.isnan(row["p"]) for row in flat.values())
