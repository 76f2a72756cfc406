"""One law over model sizes: it finds its own parameters again, and foretells a size that it did not see."""

from __future__ import annotations

import numpy as np
import pytest

from jfhpo.core.errors import UsageError
from jfhpo.dynamics.joint_law import (
    JointSaturation,
    JointSigmoid,
    SizedCurve,
    fit_saturation,
    fit_sigmoid,
    sigmoid_through,
)
from jfhpo.dynamics.scaling_law import SIGMOIDS, TIMES, progress_of

T, U = 40, progress_of(40, 40)
RUNS = ((4.0, 0.15), (4.0, 0.3), (5.0, 0.2), (5.0, 0.1))
"""Size and initial reward."""


def curves(law) -> list[SizedCurve]:
    return [SizedCurve(law(U, size, initial), T, size, initial) for size, initial in RUNS]


def test_the_sigmoid_is_version_1():
    law = JointSigmoid(of_initial=0.5, of_size=0.02, amplitude=0.6, steepness=8.0, midpoint=0.3)
    assert law(np.array([0.3]), 5.0, 0.2)[0] == pytest.approx(0.5 * 0.2 + 0.02 * 5.0 + 0.3)


def test_version_1_is_found_again_and_foretells_another_size():
    steepness, midpoint = SIGMOIDS[5 * 19 + 7]
    truth = JointSigmoid(0.6, 0.03, 0.5, steepness, midpoint)
    found = fit_sigmoid(curves(truth))
    assert found(U, 6.0, 0.25) == pytest.approx(truth(U, 6.0, 0.25), abs=1e-6)
    assert (found.of_initial, found.of_size, found.amplitude) == pytest.approx((0.6, 0.03, 0.5), abs=1e-6)


@pytest.mark.parametrize("from_initial", [False, True])
def test_version_2_is_found_again_and_larger_models_may_be_slower_or_faster(from_initial):
    for power in (-0.75, 0.5):
        truth = JointSaturation(0.9, float(TIMES[18, 0]), power, 4.5, from_initial)
        found = fit_saturation(curves(truth), from_initial)
        assert (found.plateau, found.power, found.time) == pytest.approx((0.9, power, truth.time), abs=1e-6)
        assert found(U, 6.0, 0.2) == pytest.approx(truth(U, 6.0, 0.2), abs=1e-6)


def test_version_2_starts_at_zero_and_its_variant_at_the_initial_reward():
    for from_initial, start in ((False, 0.0), (True, 0.2)):
        assert JointSaturation(0.9, 0.3, 0.0, 5.0, from_initial)(np.zeros(1), 5.0, 0.2)[0] == pytest.approx(start)


def test_a_law_goes_through_single_points_of_several_sizes():
    truth = JointSigmoid(0.1, 0.2, 0.5, *SIGMOIDS[4 * 19 + 3])
    u, size = np.linspace(0, 1, 30), np.repeat([0.0, 1.0, 0.0], 10)
    found = sigmoid_through(u, truth(u, size, 1.0), size, np.ones(30))
    assert found(u, size, 1.0) == pytest.approx(truth(u, size, 1.0), abs=1e-6)


@pytest.mark.parametrize("fit", [fit_sigmoid, fit_saturation])
def test_one_size_says_nothing_of_another(fit):
    alone = [SizedCurve(np.linspace(0.1, 0.5, T), T, 4.0, 0.1)] * 2
    with pytest.raises(UsageError, match=r"a joint law needs curves of two model sizes; there is 1: \[4.0\]"):
        fit(alone)
