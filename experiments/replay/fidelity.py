"""Does the replay rank methods as live studies do? ``python -m experiments.replay.fidelity live=results_full``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.gather import load
from experiments.replay import analysis
from experiments.replay.terminal import show
from jfhpo.core.words import exit_code, settings

HELP = """Compare replayed studies with live ones of the same problems.

usage: python -m experiments.replay.fidelity [replay=results_replay] [live=results_full]
"""
DEFAULTS = {"replay": "results_replay", "live": "results_full"}


def main(words: Sequence[str]) -> int:
    if any(w in ("-h", "--help") for w in words):
        print(HELP)
        return 0

    def command() -> int:
        given = settings(words, DEFAULTS)
        replayed, live = load(Path(given["replay"]), "replay"), load(Path(given["live"]), "benchmark")
        show(analysis.side_by_side(replayed, live), "mean test accuracy")
        show(analysis.agreement(replayed, live), "Spearman's ρ of the methods' means, replayed and live")
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
