"""Every method goes on after a kill: asked and told again what the records hold, it proposes the same as before."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from tests.baselines.conformance import replay
from tests.baselines.conformance.parts import FIT_ITERATIONS, check, future, make, parallel
from tests.method.synthetic import World

EVENTS = 13
"""Of three workers, whose results come youngest first and end in every way: the search is killed in their midst."""
SEED = 3


@dataclass
class History:
    events: replay.Events = field(default_factory=list)
    then: list[Any] | None = None
    """`parts.future` from there."""
    broke: Exception | None = None
    """What a method raised before it could be killed; the others are tested all the same."""


def history(name: str) -> History:
    found = History()
    try:
        optimizer = make(name, seed=SEED)
        found.events.extend(islice(parallel(optimizer, World(), workers=3, trials=8), EVENTS))
        found.then = future(optimizer, World())
    except Exception as error:
        found.broke = error
    return found


@pytest.fixture(scope="module")
def histories(request) -> dict[str, History]:
    """Of the methods that this run tests here."""
    mine = [item.callspec.params["name"] for item in request.session.items if item.path == Path(__file__)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("jfhpo.method.surrogate.MAX_FIT_ITERATIONS", FIT_ITERATIONS)
        return {name: history(name) for name in dict.fromkeys(mine)}


@pytest.fixture(scope="module")
def in_a_new_process(histories, tmp_path_factory) -> dict[str, Any]:
    """Every method replayed in one process, in which sets and dictionaries of words have another order."""
    file = tmp_path_factory.mktemp("replay") / "histories.pickle"
    file.write_bytes(pickle.dumps({name: (SEED, past.events) for name, past in histories.items()}))
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    root = Path(__file__).parents[3]
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, replay.__file__, str(file)], env=environment, cwd=root, check=True, timeout=300)
    return pickle.loads(file.with_suffix(".out").read_bytes())


@check("resumes from records")
def test_a_new_instance_that_is_told_the_same_goes_on_alike(name, histories):
    past = histories[name]
    assert past.broke is None
    assert replay.replayed(name, SEED, past.events) == past.then


@check("in a new process")
def test_so_does_one_in_another_process_with_another_hash_seed(name, histories, in_a_new_process):
    assert histories[name].broke is None
    assert in_a_new_process[name] == histories[name].then
