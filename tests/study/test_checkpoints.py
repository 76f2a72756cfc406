"""The checkpoint registry keeps its promises: lookups, replacement, pins, collection, crashes, bad input."""

import hashlib
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import traceback
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import CheckpointError
from jfhpo.study import checkpoint_files as files
from jfhpo.study import checkpoints
from jfhpo.study.checkpoint_database import NAME
from jfhpo.study.checkpoints import CheckpointKey, CheckpointRegistry

KEY = CheckpointKey(scope="study", config_key="c0", model="p", seed=0, task="last_digit", code_version="v1")
REPOSITORY = Path(checkpoints.__file__).parents[2]


def file_of(content: bytes):
    return lambda path: path.write_bytes(content)


def folder_of(**contents: bytes):
    def write(path: Path) -> None:
        (path / "actor").mkdir(parents=True)
        for name, content in contents.items():
            (path / "actor" / name).write_bytes(content)

    return write


def on_disk(root: Path) -> set[Path]:
    """All checkpoints below the root, temporary ones too."""
    return {path for scope in root.iterdir() if files.SCOPE_NAME.fullmatch(scope.name) for path in scope.iterdir()}


def steps(registry: CheckpointRegistry) -> list[int]:
    return [row.step for row in registry.ls()]


def start_child(action) -> int:
    """Run in a forked process; its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            action()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)  # the child must never run on into pytest
    return pid


def ends(*pids: int) -> list[int]:
    """Their wait statuses: 0 if all went well, the signal's number for one that was killed."""
    return [os.waitpid(pid, 0)[1] for pid in pids]


def in_child(action) -> int:
    return ends(start_child(action))[0]


def killed_at_line(number: int, root: Path, action, repeats: bool = False) -> bool:
    """Run ``action(registry)`` in a process of its own that is killed (SIGKILL) before the `number`-th line of the
    registry's code that it reaches, counted anew in loops only with `repeats`; False if it was through before."""

    def child() -> None:
        registry = CheckpointRegistry(root)
        seen = []

        def trace(frame, event, _):
            if "/jfhpo/study/checkpoint" not in frame.f_code.co_filename:
                return None
            line = (frame.f_code.co_filename, frame.f_lineno)
            if event == "line" and (repeats or line not in seen):
                if len(seen) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen.append(line)
            return trace

        sys.settrace(trace)
        action(registry)
        sys.settrace(None)

    status = in_child(child)
    assert status in (0, signal.SIGKILL)
    return status == signal.SIGKILL


@pytest.fixture
def root(tmp_path):
    return tmp_path / ".checkpoints"


@pytest.fixture
def registry(root):
    with CheckpointRegistry(root) as opened:
        yield opened


# Publish and find.


def test_what_is_published_is_found_with_its_content_and_meta(registry, root):
    made = registry.publish(KEY, 20, file_of(b"weights"), {"reward": 0.5})
    found = registry.longest_prefix(KEY, 20)
    assert found == made
    assert found.path.read_bytes() == b"weights"
    assert found.meta == {"reward": 0.5}
    assert (found.bytes, found.sha256) == (7, hashlib.sha256(b"weights").hexdigest())
    assert on_disk(root) == {made.path}


def test_a_folder_is_a_checkpoint_too(registry):
    registry.publish(KEY, 20, folder_of(model=b"m" * 10, optim=b"o" * 20))
    found = registry.longest_prefix(KEY, 20)
    assert found.bytes == 30
    assert (found.path / "actor" / "optim").read_bytes() == b"o" * 20


def test_the_longest_prefix_is_the_greatest_step_up_to_the_one_asked_for(registry):
    for step in (30, 10, 20):
        registry.publish(KEY, step, file_of(b"%d" % step))
    found = {asked: registry.longest_prefix(KEY, asked) for asked in (9, 10, 19, 25, 30, 99)}
    assert {asked: row and row.step for asked, row in found.items()} == {
        9: None,
        10: 10,
        19: 10,
        25: 20,
        30: 30,
        99: 30,
    }


@pytest.mark.parametrize("field", ["scope", "config_key", "model", "seed", "task", "code_version"])
def test_another_key_never_shares_a_checkpoint(registry, field):
    registry.publish(KEY, 20, file_of(b"x"))
    other = replace(KEY, **{field: 1 if field == "seed" else "other"})
    assert registry.longest_prefix(other, 20) is None
    assert registry.longest_prefix(KEY, 20)


def test_the_folder_may_be_moved(registry, root, tmp_path):
    registry.publish(KEY, 20, file_of(b"x"))
    registry.close()
    root.rename(tmp_path / "moved")
    with CheckpointRegistry(tmp_path / "moved") as moved:
        assert moved.longest_prefix(KEY, 20).path.read_bytes() == b"x"


# Content checks.


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


FILE_DAMAGE = {
    "truncated": lambda path: os.truncate(path, 3),
    "grown": lambda path: path.write_bytes(path.read_bytes() + b"x"),
    "flipped": flip,
    "missing": Path.unlink,
    "a folder now": lambda path: (path.unlink(), path.mkdir()),
}
FOLDER_DAMAGE = {
    "file flipped": lambda path: flip(path / "actor" / "b"),
    "file missing": lambda path: (path / "actor" / "b").unlink(),
    "empty file added": lambda path: (path / "actor" / "c").touch(),
    "empty folder added": lambda path: (path / "critic").mkdir(),
    "file renamed": lambda path: (path / "actor" / "b").rename(path / "actor" / "c"),
    "bytes moved between files": lambda path: folder_of(a=b"12345", b=b"6")(shutil.rmtree(path) or path),
    "link instead": lambda path: (shutil.copytree(path, f"{path}x"), shutil.rmtree(path), path.symlink_to(f"{path}x")),
    "missing": shutil.rmtree,
}


@pytest.mark.parametrize(("write", "damage"), [(file_of(b"abcdef"), d) for d in FILE_DAMAGE.values()]
                         + [(folder_of(a=b"123", b=b"456"), d) for d in FOLDER_DAMAGE.values()],
                         ids=[*FILE_DAMAGE, *FOLDER_DAMAGE])  # fmt: skip
def test_a_damaged_checkpoint_is_marked_and_the_next_lower_one_answers(registry, write, damage):
    registry.publish(KEY, 10, file_of(b"good"))
    broken = registry.publish(KEY, 20, write)
    damage(broken.path)
    assert registry.longest_prefix(KEY, 99).step == 10
    assert [bool(row.bad) for row in registry.ls()] == [False, True]


def test_a_bad_mark_stays_until_the_step_is_published_again(registry):
    made = registry.publish(KEY, 20, file_of(b"abcdef"))
    made.path.write_bytes(b"abcdeX")
    assert registry.longest_prefix(KEY, 20) is None
    made.path.write_bytes(b"abcdef")
    assert registry.longest_prefix(KEY, 20) is None
    assert registry.ls()[0].bad == "content altered (sha256 differs)"
    registry.publish(KEY, 20, file_of(b"again"))
    assert registry.longest_prefix(KEY, 20).path.read_bytes() == b"again"


def test_one_that_cannot_be_read_at_present_is_passed_over_but_not_marked(registry, monkeypatch):
    for step in (10, 20):
        registry.publish(KEY, step, file_of(b"%d" % step))
    digest = files.digest

    def refuse(path):
        if path.read_bytes() == b"20":
            raise PermissionError(13, "Permission denied")
        return digest(path)

    monkeypatch.setattr(files, "digest", refuse)
    assert registry.longest_prefix(KEY, 20).step == 10
    assert [problem and "cannot be read" in problem for _, problem in registry.verify()] == [None, True]
    registry.gc(0)
    monkeypatch.undo()
    assert registry.longest_prefix(KEY, 20).step == 20


def test_verify_names_every_problem_and_marks_it(registry):
    made = [registry.publish(KEY, step, file_of(b"abcdef")) for step in (10, 20, 30)]
    made[0].path.unlink()
    os.truncate(made[1].path, 2)
    problems = [problem for _, problem in registry.verify()]
    assert problems == ["missing", "has 2 bytes instead of 6", None]
    assert [row.bad for row in registry.ls()] == problems
    assert [problem for _, problem in registry.verify()] == problems


def test_verify_leaves_out_what_another_process_takes_away_meanwhile(registry, root, monkeypatch):
    problem = files.problem
    for step in (10, 20):
        registry.publish(KEY, step, file_of(b"x"))

    def collected_meanwhile(*args):
        monkeypatch.undo()
        with CheckpointRegistry(root) as other:
            other.gc(0)
        return problem(*args)

    monkeypatch.setattr(files, "problem", collected_meanwhile)
    assert [(row.step, problem) for row, problem in registry.verify()] == [(20, None)]


# Atomic publish.


@pytest.mark.parametrize("folder", [False, True])
def test_a_row_follows_its_file_which_is_synced_before_and_named_after(registry, monkeypatch, folder):
    registry.publish(replace(KEY, seed=1), 1, file_of(b"x"))  # makes the scope's folder
    events = []
    fsync, rename = os.fsync, os.replace

    def name_of(descriptor: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{descriptor}")).name

    monkeypatch.setattr(os, "fsync", lambda fd: (events.append(f"sync {name_of(fd)}"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append(f"replace {a.name} {b.name}"), rename(a, b)))
    registry._database._connection.set_trace_callback(events.append)
    made = registry.publish(KEY, 20, folder_of(model=b"m") if folder else file_of(b"x"))
    order = [f"sync {made.path.name}.tmp", f"replace {made.path.name}.tmp {made.path.name}"]
    order += [f"sync {made.path.parent.name}", "BEGIN IMMEDIATE", "COMMIT"]
    seen = [event for event in events if event in order]
    assert seen == order
    if folder:
        inside = [events.index(f"sync {name}") for name in ("model", "actor")]
        assert inside == sorted(inside)
        assert inside[-1] < events.index(order[0])


def test_an_interrupted_transaction_changes_nothing_and_blocks_nobody(registry):
    def interrupted():
        with registry._database.transaction() as db:
            db.execute("INSERT INTO released VALUES (?)", (KEY.scope,))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert registry._database.read("SELECT * FROM released") == []
    registry.publish(KEY, 20, file_of(b"x"))


def test_commits_are_on_disk_when_they_return(registry):
    assert registry._database.read("PRAGMA synchronous") == [(2,)]  # FULL: files are deleted on a commit's word
    assert registry._database.read("PRAGMA journal_mode") == [("wal",)]


def test_the_old_one_answers_until_the_new_one_is_whole(registry, root):
    old = registry.publish(KEY, 20, file_of(b"old"))

    def write(path):
        path.write_bytes(b"ne")
        with CheckpointRegistry(root) as other:
            assert other.longest_prefix(KEY, 20) == old
            other.gc(0)
            assert path.exists()
            assert other.longest_prefix(KEY, 20) == old
        path.write_bytes(b"new")

    new = registry.publish(KEY, 20, write)
    assert registry.longest_prefix(KEY, 20) == new
    assert on_disk(root) == {new.path}


def test_a_replaced_one_that_is_pinned_stays_until_unpinned(registry, root):
    old = registry.publish(KEY, 20, file_of(b"old"))
    assert registry.longest_prefix(KEY, 20, owner="reader") == old
    registry.publish(KEY, 20, file_of(b"new"))
    registry.gc(0)
    assert old.path.read_bytes() == b"old"
    registry.unpin("reader")
    assert [row.path for row in registry.gc()] == [old.path]
    assert not old.path.exists()


@pytest.mark.parametrize(("write", "error"), [
    (lambda path: (path.write_bytes(b"half"), 1 / 0), ZeroDivisionError),
    (lambda path: (folder_of(a=b"1")(path), 1 / 0), ZeroDivisionError),
    (lambda path: None, CheckpointError),
    (lambda path: path.symlink_to(__file__), CheckpointError),
    (lambda path: (path.mkdir(), (path / "link").symlink_to(__file__)), CheckpointError),
], ids=["raises", "raises in a folder", "writes nothing", "a link", "a link inside"])  # fmt: skip
def test_a_failed_write_leaves_the_old_state(registry, root, write, error):
    old = registry.publish(KEY, 20, file_of(b"old"))
    with pytest.raises(error):
        registry.publish(KEY, 20, write)
    assert registry.ls() == [old]
    assert on_disk(root) == {old.path}


def test_a_commit_that_came_through_though_it_seemed_to_fail_keeps_its_file(registry, monkeypatch):
    transaction = registry._database.transaction

    @contextmanager
    def interrupted():
        with transaction() as db:
            yield db
        raise KeyboardInterrupt

    monkeypatch.setattr(registry._database, "transaction", interrupted)
    with pytest.raises(KeyboardInterrupt):
        registry.publish(KEY, 20, file_of(b"x"))
    monkeypatch.undo()
    assert registry.longest_prefix(KEY, 20).path.read_bytes() == b"x"


def test_meta_that_is_no_json_is_refused_before_anything_is_written(registry, root):
    with pytest.raises(TypeError):
        registry.publish(KEY, 20, file_of(b"x"), {"when": object()})
    assert not on_disk(root)


def killed_everywhere(root: Path, action, check, every: int = 1) -> int:
    """Kill the action at every (or every second, ...) line in turn and check what is left; how many lines it has."""
    number = 0
    while killed_at_line(number, root, action):
        check()
        number += every
    return number


@pytest.mark.parametrize(("write_old", "write_new", "every"), [
    (file_of(b"old"), file_of(b"new"), 1),
    (folder_of(a=b"old"), folder_of(a=b"new", b=b""), 3),
], ids=["file", "folder"])  # fmt: skip
def test_publish_killed_at_any_line_leaves_the_old_or_the_new(registry, root, write_old, write_new, every):
    registry.publish(KEY, 10, file_of(b"lower"))
    seen = set()

    def check():
        row = registry.longest_prefix(KEY, 20)
        assert row.step == 20
        assert [problem for _, problem in registry.verify()] == [None, None]
        seen.add(row.sha256)
        if row.sha256 != old.sha256:
            registry.publish(KEY, 20, write_old)
        registry.gc()
        assert on_disk(root) == {row.path for row in registry.ls()}

    old = registry.publish(KEY, 20, write_old)
    lines = killed_everywhere(root, lambda child: child.publish(KEY, 20, write_new), check, every)
    assert lines > 50
    assert len(seen) == 2


def test_gc_killed_at_any_line_keeps_what_must_be_kept(registry, root):
    def fill():
        for step in (10, 20, 30):
            registry.publish(KEY, step, file_of(b"%d" % step))

    def check():
        assert registry.longest_prefix(KEY, 99).step == 30
        assert all(problem is None for _, problem in registry.verify())
        registry.gc()
        assert on_disk(root) == {row.path for row in registry.ls()}
        fill()

    fill()
    assert killed_everywhere(root, lambda child: child.gc(0), check) > 50
    assert steps(registry) == [30]


LOOP = """
import itertools, os, sys
from jfhpo.study.checkpoints import CheckpointKey, CheckpointRegistry
registry = CheckpointRegistry(sys.argv[1])
key = CheckpointKey("study", "c0", "p", 0, "last_digit", sys.argv[2])
for step in itertools.count(1):
    registry.publish(key, step, lambda path: path.write_bytes(b"%08d" % step + os.urandom(300_000)))
    registry.publish(key, 1_000_000, lambda path: path.write_bytes(b"%08d" % step + os.urandom(300_000)))
    print(step, flush=True)
"""


def test_a_process_killed_while_it_publishes_loses_nothing_it_was_told_is_safe(root):
    for turn, more in enumerate((1, 2, 5)):
        command = [sys.executable, "-c", LOOP, str(root), f"v{turn}"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
        told = [int(process.stdout.readline()) for _ in range(more)]
        time.sleep(0.004 * more)
        process.kill()
        told += [int(line) for line in process.stdout.read().splitlines()]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        key = replace(KEY, code_version=f"v{turn}")
        with CheckpointRegistry(root) as registry:
            assert all(problem is None for _, problem in registry.verify())
            assert {row.step for row in registry.ls() if row.key == key} >= {*told, 1_000_000}
            assert registry.longest_prefix(key, 2_000_000).path.read_bytes()[:8] >= b"%08d" % told[-1]
            registry.gc()
            assert on_disk(root) == {row.path for row in registry.ls()}


# Several processes.


def hammer(root: Path, name: str, rounds: int) -> None:
    """Publish, look up and collect; every checkpoint says of itself what it holds."""
    with CheckpointRegistry(root, timeout=20) as registry:
        for turn in range(rounds):
            step = 1 + turn % 3
            body = f"{name} {turn} ".encode() * 200
            content = b"%d " % step + hashlib.sha256(body).hexdigest().encode() + body
            registry.publish(KEY, step, file_of(content) if turn % 2 else folder_of(all=content))
            found = registry.longest_prefix(KEY, 1 + turn % 4, owner=name)
            assert found is not None
            assert found.step <= 1 + turn % 4
            read = (found.path / "actor" / "all" if found.path.is_dir() else found.path).read_bytes()
            assert read[:2] == b"%d " % found.step
            assert read[2:66].decode() == hashlib.sha256(read[66:]).hexdigest()
            registry.unpin(name)
            if turn % 7 == 0:
                registry.gc(5000)


def test_many_processes_may_open_a_new_registry_at_once(tmp_path):
    for turn in range(5):
        start = time.time() + 0.03

        def child(root=tmp_path / str(turn), start=start):
            time.sleep(max(0.0, start - time.time()))
            CheckpointRegistry(root).publish(KEY, 10, file_of(b"x"))

        assert ends(*[start_child(child) for _ in range(6)]) == [0] * 6


def test_two_processes_may_publish_look_up_and_collect_at_once(root):
    assert ends(*[start_child(lambda name=name: hammer(root, name, 80)) for name in ("a", "b")]) == [0, 0]
    with CheckpointRegistry(root) as registry:
        assert all(problem is None for _, problem in registry.verify())
        registry.gc()
        assert on_disk(root) == {row.path for row in registry.ls()}
        assert not any((root / files.WRITERS).iterdir())


def test_a_registry_carried_through_fork_works_in_both_processes(registry):
    registry.publish(KEY, 10, file_of(b"parent"))
    connection, writer = registry._database._connection, registry._writer.id

    def child():
        made = registry.publish(KEY, 20, file_of(b"child"))
        assert registry._database._connection is not connection, "SQLite's connections must not cross a fork"
        assert writer not in made.path.name, "two writers of one name"

    assert in_child(child) == 0
    registry.publish(KEY, 30, file_of(b"parent"))
    assert steps(registry) == [10, 20, 30]
    assert all(problem is None for _, problem in registry.verify())


def test_a_child_that_dies_does_not_make_its_parent_a_dead_writer(registry):
    registry.publish(KEY, 10, file_of(b"parent"))
    writer = registry._writer.id
    assert in_child(lambda: registry.publish(KEY, 20, file_of(b"child"))) == 0
    assert files.is_alive(registry.root, writer)


def test_a_registry_can_be_sent_to_another_process(root):
    with CheckpointRegistry(root, quota_bytes=5, timeout=3) as registry:
        registry.publish(KEY, 10, file_of(b"x"))
        with pickle.loads(pickle.dumps(registry)) as copy:
            assert (copy.root, copy.quota_bytes, copy.timeout, steps(copy)) == (root, 5, 3, [10])


# Pins and collection.


def test_under_the_quota_nothing_goes_and_nothing_is_hashed(registry, monkeypatch):
    for step in (10, 20):
        registry.publish(KEY, step, file_of(b"12345"))
    monkeypatch.setattr(files, "digest", None)
    assert registry.gc() == []
    assert registry.gc(10) == []
    assert steps(registry) == [10, 20]


def test_over_the_quota_what_supersedes_nothing_is_not_hashed(registry, monkeypatch):
    """Many gigabytes are read in minutes, while every GPU waits."""
    for number in range(3):
        registry.publish(replace(KEY, config_key=f"c{number}"), 10, file_of(b"12345"))
    hashed, digest = [], files.digest
    monkeypatch.setattr(files, "digest", lambda path: hashed.append(path) or digest(path))
    assert registry.gc(0) == []
    assert hashed == []
    longer = registry.publish(KEY, 10, file_of(b"1")), registry.publish(KEY, 20, file_of(b"2"))
    hashed.clear()
    assert [row.path for row in registry.gc(0)] == [longer[0].path]
    assert hashed == [longer[1].path]


def test_over_the_quota_superseded_ones_go_oldest_first_and_no_more_than_needed(registry):
    other = replace(KEY, config_key="c1")
    for key, step in ((KEY, 20), (other, 10), (KEY, 10), (other, 20), (KEY, 30)):
        registry.publish(key, step, file_of(b"12345"))
    removed = registry.gc(15)
    assert [(row.key, row.step) for row in registry.ls()] == [(KEY, 10), (other, 20), (KEY, 30)]
    assert [(row.bytes, row.reason) for row in removed] == [(5, "superseded by step 30"), (5, "superseded by step 20")]
    assert not any(row.path.exists() for row in removed)


def test_broken_ones_that_gc_comes_upon_count_for_the_quota(registry):
    for step in (10, 20, 30):
        made = registry.publish(KEY, step, file_of(b"12345"))
    made.path.write_bytes(b"1234X")
    assert [row.reason for row in registry.gc(10)] == ["bad: content altered (sha256 differs)"]
    assert steps(registry) == [10, 20]


def test_the_registrys_own_quota_is_the_default(root):
    with CheckpointRegistry(root, quota_bytes=0) as registry:
        for step in (10, 20):
            registry.publish(KEY, step, file_of(b"1"))
        registry.gc()
        assert steps(registry) == [20]


def test_the_only_good_one_of_a_key_never_goes(registry):
    registry.publish(KEY, 10, file_of(b"good"))
    registry.publish(KEY, 20, file_of(b"will be altered")).path.write_bytes(b"has been altered")
    registry.gc(0)
    assert registry.longest_prefix(KEY, 99).path.read_bytes() == b"good"


def test_a_bad_one_goes_without_any_quota(registry, root):
    registry.publish(KEY, 10, file_of(b"abc")).path.write_bytes(b"abX")
    registry.verify()
    registry.pin(KEY, 10, owner="reader")
    assert registry.gc(0) == []
    assert steps(registry) == [10]
    registry.unpin("reader")
    assert [row.reason for row in registry.gc()] == ["bad: content altered (sha256 differs)"]
    assert registry.ls() == []
    assert not on_disk(root)


def test_a_pinned_step_stays(registry):
    for step in (10, 20, 30):
        registry.publish(KEY, step, file_of(b"%d" % step))
    registry.pin(KEY, 10, owner="trial 7")
    registry.release(KEY.scope)
    registry.gc(0)
    assert steps(registry) == [10]
    assert registry.pinned_by(registry.ls()[0]) == ["trial 7"]
    registry.unpin("trial 8")
    registry.gc(0)
    assert steps(registry) == [10]
    registry.unpin("trial 7")
    registry.gc(0)
    assert steps(registry) == []


def test_a_pinned_key_keeps_its_longest_good_one_and_follows_it(registry):
    registry.pin(KEY, owner="trial 7")
    registry.release(KEY.scope)
    registry.publish(KEY, 10, file_of(b"10"))
    registry.release(KEY.scope)
    registry.gc(0)
    assert steps(registry) == [10]
    registry.publish(KEY, 20, file_of(b"20"))
    registry.release(KEY.scope)
    assert [registry.pinned_by(row) for row in registry.ls()] == [[], ["trial 7"]]
    registry.gc(0)
    assert steps(registry) == [20]


def test_pins_outlive_the_process(root):
    def child():
        registry = CheckpointRegistry(root)
        for step in (10, 20):
            registry.publish(KEY, step, file_of(b"x"))
        registry.pin(KEY, 10, owner="trial 7")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(child) == signal.SIGKILL
    with CheckpointRegistry(root) as registry:
        registry.gc(0)
        assert steps(registry) == [10, 20]


def test_a_lookup_with_an_owner_pins_what_it_returns(registry):
    for step in (10, 20):
        registry.publish(KEY, step, file_of(b"x"))
    registry.longest_prefix(KEY, 15, owner="reader")
    registry.gc(0)
    assert steps(registry) == [10, 20]


def test_a_released_scope_goes_first_and_entirely_unless_it_is_used_again(registry):
    done = replace(KEY, scope="done")
    for key, step in ((KEY, 10), (KEY, 20), (done, 10), (done, 20)):
        registry.publish(key, step, file_of(b"12345"))
    registry.release("done")
    registry.gc(15)
    assert [(row.key.scope, row.step) for row in registry.ls()] == [("study", 10), ("study", 20), ("done", 20)]
    registry.gc(0)
    assert [(row.key.scope, row.step) for row in registry.ls()] == [("study", 20)]
    registry.publish(done, 30, file_of(b"again"))
    registry.gc(0)
    assert [(row.key.scope, row.step) for row in registry.ls()] == [("study", 20), ("done", 30)]


def test_a_pin_or_a_broken_rival_that_comes_while_gc_works_is_respected(registry, root, monkeypatch):
    for step in (10, 20):
        registry.publish(KEY, step, file_of(b"%d" % step))
    lookup = registry.longest_prefix

    def pinned_meanwhile(key, max_step, owner=None):
        found = lookup(key, max_step, owner)
        with CheckpointRegistry(root) as other:
            other.pin(KEY, 10, owner="late")
        return found

    monkeypatch.setattr(registry, "longest_prefix", pinned_meanwhile)
    registry.gc(0)
    assert steps(registry) == [10, 20]

    def broken_meanwhile(key, max_step, owner=None):
        found = lookup(key, max_step, owner)
        found.path.write_bytes(b"XX")
        with CheckpointRegistry(root) as other:
            other.unpin("late")
            other.pin(KEY, 20, owner="reader")
            other.verify()
        return found

    monkeypatch.setattr(registry, "longest_prefix", broken_meanwhile)
    registry.gc(0)
    assert [row.step for row in registry.ls() if row.bad is None] == [10]


def test_leftovers_of_the_dead_go_and_work_in_progress_stays(registry, root):
    def dies_while_writing(path):
        path.write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(lambda: CheckpointRegistry(root).publish(KEY, 10, dies_while_writing)) == signal.SIGKILL
    (stray,) = on_disk(root)
    (stray.parent / "notes.txt").write_text("not a checkpoint")
    seen = []

    def write(path):
        path.write_bytes(b"whole")
        with CheckpointRegistry(root) as other:
            seen.extend(other.gc(0))

    made = registry.publish(KEY, 20, write)
    assert [(row.path, row.bytes, row.reason) for row in seen] == [(stray, 4, "left by a dead writer")]
    assert on_disk(root) == {made.path, stray.parent / "notes.txt"}
    assert [lock.stem for lock in (root / files.WRITERS).iterdir()] == [registry._writer.id]
    unknown = stray.with_name(f"{'0' * 16}.00000010.{'0' * 16}-1.tmp")
    unknown.mkdir()
    assert [row.path for row in registry.gc()] == [unknown]


def test_a_file_registered_while_gc_looks_for_leftovers_is_none(registry, root, monkeypatch):
    dead_files = files.dead_files

    def published_meanwhile(where):
        assert in_child(lambda: CheckpointRegistry(root).publish(KEY, 10, file_of(b"x"))) == 0
        return dead_files(where)

    monkeypatch.setattr(files, "dead_files", published_meanwhile)
    assert registry.gc() == []
    assert registry.longest_prefix(KEY, 10)


def test_a_folder_that_two_processes_remove_at_once_goes_entirely(tmp_path, monkeypatch):
    folder_of(a=b"1", b=b"2")(tmp_path / "x")
    rmtree = shutil.rmtree

    def overtaken(path):
        monkeypatch.undo()
        (path / "actor" / "a").unlink()
        raise FileNotFoundError

    monkeypatch.setattr(shutil, "rmtree", overtaken)
    files.remove(tmp_path / "x")
    assert not (tmp_path / "x").exists()
    assert shutil.rmtree is rmtree


# Bad input: one line that says what and what to do.


def complaint(action) -> str:
    with pytest.raises(UsageError) as caught:
        action()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def as_nobody():
    """Without root's licence to write anywhere: a folder that this user may enter but not write."""
    folder = Path(tempfile.mkdtemp())
    (folder / "old").mkdir()
    with CheckpointRegistry(folder / "old") as registry:
        registry.publish(KEY, 10, file_of(b"x"))
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o555 if path.is_dir() else 0o444)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    yield folder
    if is_root:
        os.seteuid(0)
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_that_cannot_be_written_is_refused(as_nobody):
    before = sorted(as_nobody.rglob("*"))
    for root in (as_nobody, as_nobody / "new", as_nobody / "old"):
        said = complaint(lambda root=root: CheckpointRegistry(root))
        assert str(root) in said
        assert "writable" in said
        assert "choose another" in said
    assert sorted(as_nobody.rglob("*")) == before


def test_a_folder_that_becomes_unwritable_is_refused_when_publishing(registry, root):
    (root / files.WRITERS).write_text("in the way")
    assert str(root) in complaint(lambda: registry.publish(KEY, 10, file_of(b"x")))


def test_a_root_that_is_a_file_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file") in complaint(lambda: CheckpointRegistry(tmp_path / "file"))


@pytest.mark.parametrize(("start", "stop"), [(0, 64), (4096, 9000), (100, 4000)], ids=["header", "tables", "schema"])
def test_a_corrupt_database_is_refused_and_left_alone(root, start, stop):
    with CheckpointRegistry(root) as registry:
        for step in range(1, 40):
            registry.publish(KEY, step, file_of(b"x"))
    content = bytearray((root / NAME).read_bytes())
    content[start:stop] = b"\xa5" * (stop - start)
    (root / NAME).write_bytes(content)
    said = complaint(lambda: CheckpointRegistry(root))
    assert str(root / NAME) in said
    assert "corrupt" in said
    assert "move it away" in said
    assert (root / NAME).read_bytes() == content
    assert len(on_disk(root)) == 39


def test_a_database_of_another_format_is_refused(registry, root):
    registry._database._connection.execute("PRAGMA user_version = 99")
    assert "format 99" in complaint(lambda: CheckpointRegistry(root))


def test_a_database_locked_too_long_is_refused_and_nothing_is_left_behind(root):
    with CheckpointRegistry(root, timeout=0.05) as registry:
        old = registry.publish(KEY, 10, file_of(b"x"))
        hog = sqlite3.connect(root / NAME, isolation_level=None)
        hog.execute("BEGIN IMMEDIATE")
        for action in (lambda: CheckpointRegistry(root, timeout=0.05), lambda: registry.pin(KEY, owner="a"),
                       lambda: registry.publish(KEY, 10, file_of(b"new"))):  # fmt: skip
            said = complaint(action)
            assert str(root / NAME) in said
            assert "0.05 s" in said
            assert "end that process" in said
        assert registry.longest_prefix(KEY, 10) == old
        assert on_disk(root) == {old.path}
        hog.execute("ROLLBACK")
        hog.close()
        registry.publish(KEY, 10, file_of(b"new"))


def test_senseless_numbers_are_refused(registry, root):
    assert "step=0" in complaint(lambda: registry.publish(KEY, 0, file_of(b"x")))
    assert "step=0" in complaint(lambda: registry.pin(KEY, 0, owner="a"))
    assert "quota=-1" in complaint(lambda: registry.gc(-1))
    assert "quota=-1" in complaint(lambda: CheckpointRegistry(root, quota_bytes=-1))
