"""``python -m paper_figures out=results experiment=main``"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from jfhpo.core.errors import UsageError, unknown
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


def settings(words: Sequence[str]) -> dict[str, str]:
    """The key=value words over the defaults; a `UsageError` for any that is not one of them."""
    given = dict(DEFAULTS)
    for word in words:
        key, equals, value = word.partition("=")
        if key not in DEFAULTS:
            raise unknown("setting", key, DEFAULTS)
        if not equals or not value:
            raise UsageError(f"{word}: a setting is written key=value, for example {key}={DEFAULTS[key]}")
        given[key] = value
    return given


def main(words: Sequence[str]) -> int:
    """Run it; 0, or 2 for bad input."""
    if {"-h", "--help", "help"} & set(words):
        print(HELP, end="")
        return 0
    try:
        given = settings(words)
        write_all(Path(given["out"]), given["experiment"])
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
