"""A small results tree with numbers to compute by hand; written by `fake_results.FakeStudy`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.paper_figures.fake_results import small_tree


@pytest.fixture(scope="session")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of one experiment: recipe, random_search and jfhpo with seeds 0 and 1; see `small_tree`."""
    folder = tmp_path_factory.mktemp("results")
    small_tree(folder)
    return folder
