"""A registry that is locked, read-only or corrupt ends a study with one line; it goes on without one only if asked."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from experiments import launch, run
from jfhpo.core.errors import UsageError
from jfhpo.core.trial import Status
from jfhpo.study.checkpoint_database import NAME
from jfhpo.study.checkpoints import CheckpointRegistry
from jfhpo.study.no_checkpoints import NoCheckpoints
from tests.study.study_parts import events, study, without_times
from tests.study.test_loop import STEP, Killed, scripted, trial

BUDGET = STEP * 45
WAYS_OUT = ("out=", "checkpoints=false")


def complaint(action) -> str:
    with pytest.raises(UsageError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def at_event(number: int, action):
    """An observer that acts once, at that event of the study."""
    seen = 0

    def observe(event) -> None:
        nonlocal seen
        seen += 1
        if seen == number:
            action()

    return observe


class Hog:
    """Another process's transaction that does not end."""

    def __init__(self, path: Path):
        self.path = path

    def __call__(self) -> None:
        self.connection = sqlite3.connect(self.path, isolation_level=None)
        self.connection.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self.connection.execute("ROLLBACK")
        self.connection.close()


@pytest.fixture
def impatient(tmp_path):
    """Makes registries of the study in a folder, which do not wait long for a lock."""
    opened = []

    def open_in(folder: Path) -> CheckpointRegistry:
        opened.append(CheckpointRegistry(folder / "checkpoints", timeout=0.05))
        return opened[-1]

    yield open_in
    for registry in opened:
        registry.close()


# In the middle of a study.


@pytest.mark.parametrize("number", [2, 9, 14, 30])
def test_a_study_whose_registry_is_locked_stops_in_one_line_and_continues_to_the_same_end(tmp_path, impatient, number):
    whole = without_times(study(tmp_path / "whole", budget=BUDGET).run())
    folder = tmp_path / "locked"
    registry = impatient(folder)
    hog = Hog(registry.root / NAME)
    said = complaint(study(folder, budget=BUDGET, registry=registry, observers=(at_event(number, hog),)).run)
    assert str(registry.root / NAME) in said
    assert "another process held it for over 0.05 s; end that process" in said
    assert all(way in said for way in WAYS_OUT)
    assert len(events(folder, "step")) > 0
    assert events(folder, "finished") == []
    hog.release()
    assert without_times(study(folder, budget=BUDGET).run()) == whole


def test_a_study_whose_registry_is_ruined_stops_in_one_line_and_goes_on_with_a_new_one(tmp_path, impatient):
    registry = impatient(tmp_path)

    def ruin() -> None:
        with sqlite3.connect(registry.root / NAME) as other:
            other.execute("DROP TABLE pins")

    said = complaint(study(tmp_path, budget=BUDGET, registry=registry, observers=(at_event(9, ruin),)).run)
    assert f"checkpoint registry {registry.root / NAME}: it is corrupt" in said
    assert "move it away" in said
    assert all(way in said for way in WAYS_OUT)
    registry.close()
    for file in registry.root.glob(NAME + "*"):
        file.unlink()
    assert study(tmp_path, budget=BUDGET).run()["final"]["status"] == "completed"


def test_a_study_whose_registry_turns_read_only_stops_in_one_line(tmp_path, impatient):
    """SQLite's own read-only mode stands for a disk that was remounted, since root may write anywhere else."""
    registry = impatient(tmp_path)

    def turn() -> None:
        registry._database._connection.execute("PRAGMA query_only = ON")

    said = complaint(study(tmp_path, budget=BUDGET, registry=registry, observers=(at_event(9, turn),)).run)
    assert f"checkpoint registry {registry.root / NAME}: it cannot be written" in said
    assert all(way in said for way in WAYS_OUT)
    registry.close()
    assert study(tmp_path, budget=BUDGET).run()["final"]["status"] == "completed"


# Without a registry.


def test_without_a_registry_nothing_is_saved_or_reused_and_every_step_is_paid(tmp_path):
    trials = (trial(0, steps=5), trial(1, steps=10, resume_from=5))
    s = scripted(tmp_path, *trials, registry=NoCheckpoints())
    summary = s.run()
    assert [r.resumed_from for r in s.history.results] == [0, 0]
    assert [r.cost.flops for r in s.history.results] == [5000, 10_000]
    assert s.history.results[1].cost == s.history.results[1].cost_from_scratch
    assert [r.step for r in s.history.results[1].curve] == list(range(1, 11))
    assert summary["not_resumed"] == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["study"]


def test_without_a_registry_the_final_run_is_trained_in_full_and_tested(tmp_path):
    s = scripted(tmp_path, trial(0, model="large", steps=10), registry=NoCheckpoints())
    summary = s.run()
    assert (s.history.final.resumed_from, s.history.final.cost.flops) == (0, 20 * STEP)
    assert summary["test"]["mean_at_k"] == pytest.approx(summary["final"]["validation"])


@pytest.mark.parametrize("name", ["random_search", "jfhpo"])
def test_a_study_that_reuses_nothing_ends_the_same_with_and_without_a_registry(tmp_path, name):
    """Apart from reuse the registry changes nothing."""
    keywords = {"name": name, "budget": BUDGET}
    if name == "jfhpo":
        keywords["method_settings"] = {"checkpoint_reuse": False}
    with_registry = study(tmp_path / "with", **keywords).run()
    without = study(tmp_path / "without", **keywords, registry=NoCheckpoints()).run()
    assert without_times(without) == without_times(with_registry)


@pytest.mark.parametrize("name", ["random_search", "jfhpo"])
@pytest.mark.parametrize("kill_at", [8, 40])
def test_a_study_that_has_begun_may_go_on_without_its_registry_which_is_left_alone(tmp_path, impatient, name, kill_at):
    def kill() -> None:
        raise Killed

    registry = impatient(tmp_path)
    with pytest.raises(Killed):
        study(tmp_path, name=name, budget=BUDGET, registry=registry, observers=(at_event(kill_at, kill),)).run()
    registry.close()
    for file in (tmp_path / "checkpoints").glob(NAME + "*"):
        file.write_bytes(b"ruined")
    assert "it is corrupt" in complaint(lambda: study(tmp_path, name=name, budget=BUDGET))
    before = {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    s = study(tmp_path, name=name, budget=BUDGET, registry=NoCheckpoints())
    summary = s.run()
    assert summary["final"]["status"] in ("completed", "cut")
    assert summary["test"] is not None
    assert {p: p.read_bytes() for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()} == before
    for result in s.history.results:
        assert result.cost.flops == sum(r.cost.flops for r in result.curve[result.resumed_from :])
        assert result.status is not Status.FAILED


def test_a_killed_trial_whose_resumed_checkpoint_is_lost_pays_for_all_of_its_steps(tmp_path):
    trials = (trial(0, steps=5), trial(1, steps=10, resume_from=5))

    def kill() -> None:
        if events(tmp_path, "step")[-1]["record"]["step"] == 7:
            raise Killed

    with pytest.raises(Killed):
        scripted(tmp_path, *trials, observers=(lambda event: event["event"] == "step" and kill(),)).run()
    s = scripted(tmp_path, *trials, registry=NoCheckpoints())
    s.run()
    again = s.history.results[1]
    assert again.resumed_from == 0
    assert again.cost.flops == again.cost_from_scratch.flops == 10_000


# On the command line.


WORDS = ["scale=smoke", "method=recipe", "tracking=none"]


@pytest.fixture
def no_work(monkeypatch):
    """Bases and studies would take a while: what gets that far says so."""

    def reached(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "make_bases", reached)
    monkeypatch.setattr(launch, "make_bases", reached)


def corrupt(path: Path) -> None:
    path.write_bytes(b"garbage " * 1000)


def truncated(path: Path) -> None:
    CheckpointRegistry(path.parent).close()
    path.write_bytes(path.read_bytes()[:5000])


def a_folder(path: Path) -> None:
    path.mkdir()


def another_format(path: Path) -> None:
    CheckpointRegistry(path.parent).close()
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA user_version = 99")


BROKEN = {
    corrupt: "it is corrupt",
    truncated: "it is corrupt",
    a_folder: "it cannot be written",
    another_format: "has format 99",
}


@pytest.mark.parametrize("main", [run.main, launch.main], ids=["run", "launch"])
@pytest.mark.parametrize("spoil", BROKEN)
def test_a_registry_that_cannot_be_used_is_one_line_and_exit_code_2_before_any_work(
    tmp_path, no_work, capsys, spoil, main
):
    path = tmp_path / ".checkpoints" / NAME
    path.parent.mkdir()
    spoil(path)
    words = [*WORDS, f"out={tmp_path}"]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: checkpoint registry {path}")
    assert BROKEN[spoil] in line
    assert "checkpoints=false" in line
    assert main([*words, "checkpoints=false"]) == 130, "it went on to its work"


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_read_only_registry_is_one_line_and_exit_code_2(tmp_path, no_work, capsys, as_nobody, what):
    path = tmp_path / ".checkpoints" / NAME
    CheckpointRegistry(path.parent).close()
    path.chmod(0o444)
    if what == "folder":
        path.parent.chmod(0o555)
    as_nobody(tmp_path)
    assert run.main([*WORDS, f"out={tmp_path}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: checkpoint registry {path}: it cannot be written")
    assert "checkpoints=false" in line


@pytest.fixture
def as_nobody():
    """Gives up root's licence to write anywhere, for a folder that anybody may enter; returned afterwards."""
    is_root = os.geteuid() == 0

    def become(folder: Path) -> None:
        if is_root:
            for above in (folder, *folder.parents[:-2]):
                above.chmod(0o777)
            os.seteuid(65534)

    yield become
    if is_root:
        os.seteuid(0)


def test_a_locked_registry_is_one_line_and_exit_code_2(tmp_path, no_work, capsys, monkeypatch):
    monkeypatch.setattr(CheckpointRegistry.__init__, "__defaults__", (None, 0.05))
    path = tmp_path / ".checkpoints" / NAME
    CheckpointRegistry(path.parent).close()
    hog = Hog(path)
    hog()
    assert run.main([*WORDS, f"out={tmp_path}"]) == 2
    hog.release()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: checkpoint registry {path}: another process held it for over 0.05 s")
    assert "checkpoints=false" in line


def test_checkpoints_is_true_or_false(tmp_path, no_work, capsys):
    assert run.main([*WORDS, f"out={tmp_path}", "checkpoints=maybe"]) == 2
    assert capsys.readouterr().err == "error: checkpoints=maybe is not true or false\n"
    assert run.main([*WORDS, f"out={tmp_path}", "checkpoints=off"]) == 130
    assert not (tmp_path / ".checkpoints").exists()
