"""Replays in a new process what happened in another one: how a study that was killed resumes.

``python replay.py <file>``: the file holds, pickled, name -> (seed, events), an event being ("ask", trial or None) or
("tell", result); what each method does next is written beside it, name -> `parts.future` or the error.
"""

from __future__ import annotations

import pickle
import sys
import traceback
from pathlib import Path
from typing import Any

import jfhpo.method.surrogate
from tests.baselines.conformance.parts import FIT_ITERATIONS, future, make
from tests.method.synthetic import World

Events = list[tuple[str, Any]]


def replayed(name: str, seed: int, events: Events) -> list[Any]:
    """What the method does after it was asked and told all that again."""
    optimizer = make(name, seed=seed)
    for what, event in events:
        if what == "tell":
            optimizer.tell(event)
        elif (trial := optimizer.ask()) != event:
            raise AssertionError(f"asked again, it proposed {trial}, not {event}")
    return future(optimizer, World())


def main(file: Path) -> None:
    jfhpo.method.surrogate.MAX_FIT_ITERATIONS = FIT_ITERATIONS
    found: dict[str, Any] = {}
    for name, (seed, events) in pickle.loads(file.read_bytes()).items():
        try:
            found[name] = replayed(name, seed, events)
        except Exception:
            found[name] = traceback.format_exc()
    file.with_suffix(".out").write_bytes(pickle.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
