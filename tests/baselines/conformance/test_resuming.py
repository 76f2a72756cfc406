"""Every method goes on after a kill: asked and told again what the records hold, it proposes the same as before."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.baselines.conformance import replay
from tests.baselines.conformance.parts import METHODS, check, future, make, parallel
from tests.method.synthetic import World

EVENTS = 13
"""Of three workers, whose results come youngest first and end in every way: the search is killed in their midst."""
SEED = 3


def before_the_kill(name: str) -> tuple[replay.Events, list[Any]]:
    """What happened, and what the method did next."""
    optimizer = make(name, seed=SEED)
    events = list(islice(parallel(optimizer, World(), workers=3, trials=8), EVENTS))
    return events, future(optimizer, World())


@pytest.fixture(scope="module")
def histories() -> dict[str, tuple[replay.Events, list[Any]]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", replay.FIT_ITERATIONS)
        return {name: before_the_kill(name) for name in METHODS}


@pytest.fixture(scope="module")
def in_a_new_process(histories, tmp_path_factory) -> dict[str, Any]:
    """Every method replayed in one process, in which sets and dictionaries of words have another order."""
    file = tmp_path_factory.mktemp("replay") / "histories.pickle"
    file.write_bytes(pickle.dumps({name: (SEED, events) for name, (events, _) in histories.items()}))
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, replay.__file__, str(file)], env=environment, cwd=root, check=True, timeout=300)
    return pickle.loads(file.with_suffix(".out").read_bytes())


@check("resumes from records")
def test_a_new_instance_that_is_told_the_same_goes_on_alike(name, histories):
    events, then = histories[name]
    assert replay.replayed(name, SEED, events) == then


@check("in a new process")
def test_so_does_one_in_another_process_with_another_hash_seed(name, histories, in_a_new_process):
    assert in_a_new_process[name] == histories[name][1]
