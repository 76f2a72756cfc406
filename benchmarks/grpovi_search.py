"""Search time of GRPOVI's adjusted rewards for one group of n, beside the paper's (arXiv 2505.23247): CPU seconds.

Rewards are uniform in [0, 1] and p a flat Dirichlet's, drawn from a fixed seed; what the paper's were is not known. All
of it runs on one thread, and what each algorithm finds is compared before its time is written down.

  enumeration        Algorithm 1 as a Python loop over all pairs (k, l), about as many steps as the paper's
  enumeration, numpy the same pairs, one row of l at a time
  one pass           Algorithm 2 as a Python loop
  closed form        what the trainers use, in torch; of 256 groups at once: the time of one
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.table import Column, Table

from jfhpo.core.errors import UsageError
from jfhpo.study.machine import machine
from jfhpo.tasks.grpovi import ROUNDING, by_enumeration, by_one_pass, checked
from jfhpo.trainers.grpovi import adjusted_rewards

EXAMPLES = """examples:
  python benchmarks/grpovi_search.py                    n = 10 to 10,000, a few minutes
  python benchmarks/grpovi_search.py --sizes 10,100     seconds
  python benchmarks/grpovi_search.py --csv times.csv
"""
SIZES = "10,100,1000,10000"
MEASURED = Path(__file__).parent / "measured" / "grpovi_search.csv"
BATCH = 256
LONG = 5.0
"""CPU seconds from which one run is enough."""
REPEATS = 7


def enumeration_in_loops(rewards: np.ndarray, p: np.ndarray, low: float, high: float) -> np.ndarray:
    """Algorithm 1 as it is written: every pair (k, l), its α from prefix sums, its objective."""
    r, w = checked(rewards, p, low, high)
    order = np.argsort(-r, kind="stable")
    prefix = [0.0, *np.cumsum(w[order]).tolist()]
    n, c = len(w), float((w * (r - low)).sum() / (high - low))
    best = (-1.0, 0, n, 0.0)
    for k in range(n):
        above = prefix[k]
        for last in range(k + 1, n + 1):
            middle = prefix[last] - above
            if middle <= 0:
                continue
            alpha = (c - above) / middle
            if -ROUNDING <= alpha <= 1 + ROUNDING:
                value = above + alpha * alpha * middle
                if value > best[0]:
                    best = (value, k, last, alpha)
    _, k, last, alpha = best
    z = np.empty(n)
    z[order[:k]], z[order[k:last]], z[order[last:]] = high, low + (high - low) * min(max(alpha, 0.0), 1.0), low
    return z


def closed_form(rewards: np.ndarray, p: np.ndarray, low: float, high: float) -> np.ndarray:
    return adjusted_rewards(torch.from_numpy(rewards), torch.from_numpy(p).log(), low, high, "position").numpy()


ALGORITHMS: dict[str, Callable[[np.ndarray, np.ndarray, float, float], np.ndarray]] = {
    "enumeration": enumeration_in_loops,
    "enumeration, numpy": by_enumeration,
    "one pass": by_one_pass,
    "closed form": closed_form,
}
BATCHED = f"closed form, of {BATCH}"


def timed(search: Callable[[], np.ndarray]) -> tuple[np.ndarray, float, int]:
    """What it finds, the median CPU seconds, and over how many runs."""
    spans: list[float] = []
    while not spans or (len(spans) < REPEATS and sum(spans) < LONG):
        began = time.process_time()
        found = search()
        spans.append(time.process_time() - began)
    return found, median(spans), len(spans)


def measure(sizes: Sequence[int]) -> pd.DataFrame:
    """One row per algorithm and n: ``algorithm``, ``n``, ``seconds``, ``repeats``, ``machine``."""
    torch.set_num_threads(1)
    rng, rows = np.random.default_rng(0), []
    for n in sizes:
        rewards, p = rng.random((BATCH, n)), rng.dirichlet(np.ones(n), BATCH)
        closed_form(rewards, p, 0.0, 1.0)  # torch's own first call
        expected = by_one_pass(rewards[0], p[0], 0.0, 1.0)
        for name, search in ALGORITHMS.items():
            found, seconds, repeats = timed(partial(search, rewards[0], p[0], 0.0, 1.0))
            if abs((p[0] * found**2).sum() - (p[0] * expected**2).sum()) > 1e-9:
                raise RuntimeError(f"{name} disagrees with the one pass of the paper at n={n}: not timed")
            rows.append({"algorithm": name, "n": n, "seconds": seconds, "repeats": repeats})
        _, seconds, repeats = timed(partial(closed_form, rewards, p, 0.0, 1.0))
        rows.append({"algorithm": BATCHED, "n": n, "seconds": seconds / BATCH, "repeats": repeats})
    return pd.DataFrame(rows).assign(machine=machine())


def table(frame: pd.DataFrame) -> Table:
    """CPU seconds, a row per algorithm."""
    wide = frame.pivot(index="algorithm", columns="n", values="seconds").reindex(frame["algorithm"].unique())
    drawn = Table("CPU seconds", *(Column(f"n = {n:,}", justify="right") for n in wide.columns))
    for name, row in wide.iterrows():
        drawn.add_row(str(name), *(f"{seconds:.2g}" for seconds in row))
    return drawn


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default=SIZES, help=f"group sizes n, separated by commas (default: {SIZES})")
    parser.add_argument("--csv", type=Path, default=MEASURED, help="where to write the times")

    def refuse(message: str) -> None:
        raise UsageError(message)

    parser.error = refuse  # one line, as everywhere else
    options = parser.parse_args(words)
    wrong = [word for word in options.sizes.split(",") if not word.isdigit() or int(word) < 1]
    if wrong:
        raise UsageError(f"--sizes={wrong[0]} must be a whole number from 1 on")
    options.sizes = sorted({int(word) for word in options.sizes.split(",")})
    if not options.csv.absolute().parent.is_dir():
        raise UsageError(f"--csv={options.csv}: its folder does not exist; make it, or choose another")
    return options


def main(words: Sequence[str]) -> int:
    try:
        options = parse(words)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    frame = measure(options.sizes)
    Console().print(table(frame))
    aside = options.csv.with_suffix(".tmp")
    frame.to_csv(aside, index=False, float_format="%.4g")
    aside.replace(options.csv)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
