"""``python -m paper_figures out=results experiment=main``"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jfhpo.core.words import exit_code, settings
from paper_figures.write import write_all

DEFAULTS = {"out": "results", "experiment": "main"}
HELP = """\
Write the tables, figures and report of an experiment from its records, and print the tables.

  python -m paper_figures [out=results] [experiment=main]

  out         folder of the results; out/<experiment>/<problem>/<method>/seed=<n>/records.jsonl is read
  experiment  which of its experiments; tables/, figures/ and report.html are written in out/<experiment>/

examples
  python -m paper_figures
  python -m paper_figures out=/scratch/results experiment=ablation
"""


def main(words: Sequence[str]) -> int:
    """Run it; 0, or 2 for bad input."""
    if {"-h", "--help", "help"} & set(words):
        print(HELP, end="")
        return 0

    def command() -> int:
        given = settings(words, DEFAULTS)
        write_all(Path(given["out"]), given["experiment"])
        return 0

    return exit_code(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
