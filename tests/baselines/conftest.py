"""Coarse fits for every test of a method: they check promises, not accuracy."""

from __future__ import annotations

import pytest

from tests.baselines.conformance.parts import FIT_ITERATIONS


@pytest.fixture(autouse=True)
def coarse_fits(monkeypatch):
    monkeypatch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", FIT_ITERATIONS)
