"""Where the tests' base models and temporary files lie."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainers.conformance import parts


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Base models are made once, in a folder of the tests' own, and runs to compare with are on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JFHPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield
    torch.set_num_threads(threads)


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files of this process and of those that it starts: empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def trainer(name: str):
    return parts.make(name)


@pytest.fixture(scope="session")
def rungs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Engine -> the checkpoint of a trial that ended at the rung."""

    @functools.cache
    def saved(name: str) -> Path:
        if parts.spec(name).simulated:
            return Path(str(parts.RUNG))  # its name says all there is to it
        path = tmp_path_factory.mktemp(name) / "rung"
        first = parts.make(name)
        head = parts.told(name, first.start(parts.trial(name, parts.RUNG)))
        parts.assert_same(
            name, parts.without(head, "measured"), parts.without(parts.reference(name).steps[: parts.RUNG], "measured")
        )
        first.save(path)
        return path

    return saved


@pytest.fixture
def checkpoint(name: str, rungs: Callable[[str], Path]) -> Path:
    return rungs(name)


@pytest.fixture(scope="session")
def processes(
    rungs: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[str, Any]]:
    """Engine -> what `elsewhere` has found, in a process in which sets and dictionaries of words have another order,
    ``home`` being the folder it worked in and ``temporary`` that of its temporary files."""

    @functools.cache
    def run(name: str) -> dict[str, Any]:
        home = tmp_path_factory.mktemp(f"{name}-elsewhere")
        (home / "temporary").mkdir()
        (home / "spec.pickle").write_bytes(pickle.dumps(parts.spec(name)))
        if not parts.spec(name).simulated:
            (shutil.copytree if rungs(name).is_dir() else shutil.copy)(rungs(name), home / "rung")
        hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
        root = Path(__file__).parents[3]
        environment = os.environ | {
            "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1",
            "TMPDIR": str(home / "temporary"),
        }  # fmt: skip
        command = [sys.executable, "-m", "tests.trainers.conformance.elsewhere", name, str(home)]
        subprocess.run(command, env=environment, cwd=root, check=True, timeout=1800)
        return pickle.loads((home / "found.pickle").read_bytes()) | {"home": home}

    return run


@pytest.fixture
def elsewhere(name: str, processes: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    return processes(name)


@pytest.fixture
def killed(elsewhere: dict[str, Any]) -> dict[str, Path]:
    """Where in a `save` its process was killed -> the folder of its checkpoint registry."""
    homes = sorted((elsewhere["home"] / "killed").glob("[1-9]*"))
    return {f"touch {home.name} of files": home for home in homes}
