"""Another process with the same engine: what it makes of the same trials, and what is left of it when it is killed.

``python -m tests.trainers.conformance.elsewhere NAME FOLDER`` finds the engine's `TrainerSpec` in ``spec.pickle`` in
the folder and a checkpoint of the rung in ``rung``, and writes ``found.pickle``: the trial repeated and resumed, the
sources that this has imported, and those that the engine's version is a hash of. As in a worker, nothing of the engine
is imported but its trainer. It is killed only in forks of itself, which save below ``killed/<n>``.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jfhpo.core.trainer import Trainer
from jfhpo.study.checkpoints import CheckpointKey, CheckpointRegistry
from jfhpo.trainers.engine import engine
from tests.trainers.conformance.parts import KNOWN, RUNG, Seen, looked_at, make, scramble, spec, told, trial

KEY = CheckpointKey("conformance", "config", "model", 0, "task", "version")
KILLS = 4
"""Places in a `save` at which a process is killed, spread over it from its first to its last."""
OWN = ("jfhpo.core", "jfhpo.study", "jfhpo.trainers.engine")
"""What this script has imported itself, or is nouns."""
WRITING = os.O_WRONLY | os.O_RDWR
TOUCHING = ("os.mkdir", "os.rename", "os.remove", "shutil.move")
"""What python reports besides the opening of files (`sys.addaudithook`)."""


def main(name: str, folder: Path) -> None:
    KNOWN[name] = pickle.loads((folder / "spec.pickle").read_bytes())
    scramble(11)
    trainer = make(name)
    if not spec(name).simulated:
        kill_in_forks(name, trainer, folder)
    scramble(12)
    repeated = Seen(told(name, trainer.start(trial(name))), looked_at(name, trainer))
    resumed = Seen(told(name, trainer.start(trial(name), rung(name, folder))), looked_at(name, trainer))
    found = {"repeated": repeated, "resumed": resumed, "imported": imported(), "hashed": hashed(name)}
    (folder / "found.pickle").write_bytes(pickle.dumps(found))


def rung(name: str, folder: Path) -> Path:
    return Path(str(RUNG)) if spec(name).simulated else folder / "rung"


def imported() -> set[Path]:
    """The project's sources that this process has imported for the trainer."""
    modules = [m for name, m in sys.modules.items() if name.startswith("jfhpo.") and not name.startswith(OWN)]
    return {Path(module.__file__).resolve() for module in modules}


def hashed(name: str) -> set[Path]:
    """Files that are read when the engine's version is made anew."""
    read: set[Path] = set()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).endswith(".py"):
            read.add(Path(os.fsdecode(arguments[0])).resolve())

    sys.addaudithook(watch)
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()) if getattr(module, "__name__", "").startswith("jfhpo") else ():
            if callable(getattr(value, "cache_clear", None)):
                value.cache_clear()
    engine(name).version(spec(name).arguments)
    return read


# -- being killed


def kill_in_forks(name: str, trainer: Trainer, folder: Path) -> None:
    """One fork counts what a `save` does to files, and the others are killed on the way."""
    touches = in_a_fork(lambda: save(name, trainer, folder / "killed" / "0", die_at=0))
    places = sorted({1 + at * (touches - 1) // (KILLS - 1) for at in range(KILLS)}) if touches else []
    for place in places:
        ended = in_a_fork(lambda place=place: save(name, trainer, folder / "killed" / str(place), die_at=place))
        assert ended == -signal.SIGKILL, f"a save that was to be killed at {place} of {touches} ended with {ended}"


def in_a_fork(work: Callable[[], int]) -> int:
    """What `work` returned there, up to 255, or minus the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        try:
            os._exit(work())
        except BaseException:
            import traceback

            traceback.print_exc()
        os._exit(255)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status != 255, "a fork failed"
    return status


def save(name: str, trainer: Trainer, home: Path, die_at: int) -> int:
    """Publish a checkpoint of the first step as a study does; how often `save` touched files."""
    home.mkdir(parents=True)
    next(trainer.start(trial(name, 2)))
    touched, watching = 0, False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal touched
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
        if watching and (writes or event in TOUCHING):
            touched += 1
            if touched == die_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(watch)

    def write(path: Path) -> None:
        nonlocal watching
        watching = True
        trainer.save(path)
        watching = False

    CheckpointRegistry(home).publish(KEY, 1, write)
    return touched


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
