"""The search benchmark times what it says; how fast anything is, is not tested here."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks import grpovi_search
from jfhpo.tasks.grpovi import by_enumeration


def test_every_algorithm_is_timed_at_every_size_and_written_down(tmp_path, capsys):
    path = tmp_path / "times.csv"
    assert grpovi_search.main(["--sizes", "12,5", "--csv", str(path)]) == 0
    frame = pd.read_csv(path)
    names = [*grpovi_search.ALGORITHMS, grpovi_search.BATCHED]
    assert list(zip(frame["n"], frame["algorithm"], strict=True)) == [(n, name) for n in (5, 12) for name in names]
    assert (frame["seconds"] > 0).all() and (frame["repeats"] == grpovi_search.REPEATS).all()
    assert list(tmp_path.iterdir()) == [path]
    printed = capsys.readouterr().out
    assert "one pass" in printed and "n = 12" in printed


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_the_loops_find_what_the_rows_find(n):
    rng = np.random.default_rng(n)
    for _ in range(50):
        rewards, p = rng.uniform(-1, 2, n), rng.dirichlet(np.ones(n))
        loops, rows = (f(rewards, p, -1.0, 2.0) for f in (grpovi_search.enumeration_in_loops, by_enumeration))
        np.testing.assert_allclose(p * loops, p * rows, atol=1e-10)


def test_an_algorithm_that_finds_something_else_is_not_timed(monkeypatch):
    monkeypatch.setitem(grpovi_search.ALGORITHMS, "one pass", lambda rewards, p, low, high: rewards)
    with pytest.raises(RuntimeError, match="one pass disagrees with the one pass of the paper at n=6"):
        grpovi_search.measure([6])


@pytest.mark.parametrize(
    "words, said",
    [
        (["--sizes", "10,ten"], "--sizes=ten must be a whole number from 1 on"),
        (["--sizes", "0"], "--sizes=0 must be"),
        (["--csv", "nowhere/times.csv"], "--csv=nowhere/times.csv: its folder does not exist"),
        (["--size", "3", "--repeats"], "--repeats"),
    ],
)
def test_bad_input_is_one_line(words, said, capsys):
    assert grpovi_search.main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and said in line
