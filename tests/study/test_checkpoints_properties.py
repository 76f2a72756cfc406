"""The checkpoint registry under random histories: two processes' registries, damage, SIGKILL, against a model.

The model is a dictionary of what was published and whether its file was damaged since. Everything the registry
promises is said in terms of it; the machine's rules check each promise where it is made.
"""

import hashlib
import itertools
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from jfhpo.study import checkpoint_files as files
from jfhpo.study.checkpoints import CheckpointKey, CheckpointRegistry
from tests.study.test_checkpoints import folder_of, in_child, killed_at_line, on_disk


def key_of(scope: str, config: str) -> CheckpointKey:
    return CheckpointKey(scope, config, "p", 0, "last_digit", "v1")


ALL_KEYS = [key_of("a", "c0"), key_of("a", "c1"), key_of("b", "c0")]
ALL_STEPS = [1, 2, 3]
ALL_OWNERS = ["trial 0", "trial 1"]
KEYS, STEPS, OWNERS = (st.sampled_from(all_of) for all_of in (ALL_KEYS, ALL_STEPS, ALL_OWNERS))
HANDS = st.integers(0, 1)
SIZES = st.integers(1, 60)
QUOTAS = st.none() | st.integers(0, 300)
LINES = st.integers(0, 160)


@dataclass
class Entry:
    """What the model knows of the last checkpoint published as (key, step)."""

    path: Path
    content: dict[str, bytes]
    intact: bool = True


def writer_of(content: dict[str, bytes]):
    if "" in content:
        return lambda path: path.write_bytes(content[""])
    return folder_of(**content)


def read(path: Path) -> dict[str, bytes]:
    """Every file's content by its name; a file checkpoint's name is empty."""
    if path.is_file():
        return {"": path.read_bytes()}
    return {file.name: file.read_bytes() for file in path.rglob("*") if file.is_file()}


class RegistryMachine(RuleBasedStateMachine):
    @initialize(
        first=st.lists(st.tuples(HANDS, KEYS, STEPS, SIZES, st.booleans()), min_size=3, max_size=6),
        last=st.permutations(["verify", "look_up", "collect"]),
    )
    def begin(self, first, last):
        self.root = Path(tempfile.mkdtemp())
        self.hands = [CheckpointRegistry(self.root), CheckpointRegistry(self.root)]
        self.model: dict[tuple[CheckpointKey, int], Entry] = {}
        self.pins: set[tuple[str, CheckpointKey, int | None]] = set()
        self.released: set[str] = set()
        self.held: set[tuple[str, Path]] = set()
        self.published = 0
        self.last = last
        for hand, key, step, size, folder in first:
            self.publish(hand, key, step, size, folder)

    def teardown(self):
        """Every history ends with every promise checked once more, in an order of its own."""
        if not hasattr(self, "root"):
            return
        for promise in self.last:
            if promise == "verify":
                self.verify(0)
            elif promise == "collect":
                self.collect(0, 0)
            else:
                for key, step in itertools.product(ALL_KEYS, ALL_STEPS):
                    self.look_up(0, key, step, None)
        for owner in ALL_OWNERS:
            self.unpin(1, owner)
        for hand in self.hands:
            hand.close()
        with CheckpointRegistry(self.root) as registry:
            registry.verify()
            registry.gc()
            assert on_disk(self.root) == {row.path for row in registry.ls()}, "files without rows, or the reverse"
            assert not list(self.root.glob(f"{files.WRITERS}/*"))
        shutil.rmtree(self.root)

    # What the model says.

    def intact(self, key: CheckpointKey) -> list[int]:
        return sorted(step for (k, step), entry in self.model.items() if k == key and entry.intact)

    def step_pinned(self, key: CheckpointKey, step: int) -> bool:
        return any((k, s) == (key, step) for _, k, s in self.pins)

    def must_keep_one(self, key: CheckpointKey) -> bool:
        return key.scope not in self.released or any((k, s) == (key, None) for _, k, s in self.pins)

    def new_content(self, size: int, folder: bool) -> dict[str, bytes]:
        self.published += 1
        text = (f"{self.published} " * size).encode()[:size]
        return {"x": text, "y": b"%d" % self.published} if folder else {"": b"%d %s" % (self.published, text)}

    def note(self, key: CheckpointKey, step: int, content: dict[str, bytes], path: Path) -> None:
        self.model[key, step] = Entry(path, content)
        self.released.discard(key.scope)

    # What may happen.

    @rule(hand=HANDS, key=KEYS, step=STEPS, size=SIZES, folder=st.booleans())
    def publish(self, hand, key, step, size, folder):
        content = self.new_content(size, folder)
        made = self.hands[hand].publish(key, step, writer_of(content), {"n": self.published})
        assert made.meta == {"n": self.published}
        assert read(made.path) == content
        self.note(key, step, content, made.path)

    @rule(key=KEYS, step=STEPS, size=SIZES, folder=st.booleans(), line=LINES)
    def publish_killed(self, key, step, size, folder, line):
        content = self.new_content(size, folder)
        name = str(self.published)

        def action(child):
            child.publish(key, step, writer_of(content), {"n": name})

        killed = killed_at_line(line, self.root, action, repeats=True)
        row = next((r for r in self.hands[0].ls() if (r.key, r.step) == (key, step)), None)
        if row is not None and row.meta == {"n": name}:
            self.note(key, step, content, row.path)
        else:
            assert killed
            before = self.model.get((key, step))
            assert (row and row.path) == (before and before.path), "neither the old nor the new"

    @rule(hand=HANDS, key=KEYS, step=STEPS, size=SIZES, quota=QUOTAS)
    def publish_while_the_other_collects(self, hand, key, step, size, quota):
        content = self.new_content(size, True)

        def write(path):
            writer_of(content)(path)
            self.collect(1 - hand, quota)

        made = self.hands[hand].publish(key, step, write)
        self.note(key, step, content, made.path)

    @rule(hand=HANDS, key=KEYS, step=STEPS)
    def publish_fails(self, hand, key, step):
        with pytest.raises(ZeroDivisionError):
            self.hands[hand].publish(key, step, lambda path: (path.write_bytes(b"half"), 1 / 0))

    @rule(hand=HANDS, key=KEYS, max_step=STEPS, owner=st.none() | OWNERS)
    def look_up(self, hand, key, max_step, owner):
        found = self.hands[hand].longest_prefix(key, max_step, owner)
        expected = max((step for step in self.intact(key) if step <= max_step), default=None)
        assert (found and found.step) == expected
        if found:
            assert read(found.path) == self.model[key, expected].content, "altered, or another's"
            if owner:
                self.pins.add((owner, key, expected))
                self.held.add((owner, found.path))

    @rule(hand=HANDS, key=KEYS, step=st.none() | STEPS, owner=OWNERS)
    def pin(self, hand, key, step, owner):
        self.hands[hand].pin(key, step, owner=owner)
        self.pins.add((owner, key, step))

    @rule(hand=HANDS, owner=OWNERS)
    def unpin(self, hand, owner):
        self.hands[hand].unpin(owner)
        self.pins = {pin for pin in self.pins if pin[0] != owner}
        self.held = {held for held in self.held if held[0] != owner}

    @rule(hand=HANDS, scope=st.sampled_from("ab"))
    def release(self, hand, scope):
        self.hands[hand].release(scope)
        self.released.add(scope)

    @precondition(lambda self: any(entry.intact for entry in self.model.values()))
    @rule(data=st.data(), how=st.sampled_from(["truncate", "flip", "delete"]))
    def damage(self, data, how):
        intact = [at for at, entry in self.model.items() if entry.intact]
        entry = self.model[data.draw(st.sampled_from(intact))]
        entry.intact = False
        self.held = {held for held in self.held if held[1] != entry.path}
        path = entry.path if entry.path.is_file() else entry.path / "actor" / "x"
        if how == "delete":
            path.unlink()
        elif how == "truncate":
            os.truncate(path, path.stat().st_size - 1)
        else:
            content = path.read_bytes()
            at = data.draw(st.integers(0, len(content) - 1))
            path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])

    @rule(hand=HANDS)
    def verify(self, hand):
        found = {(row.key, row.step): problem for row, problem in self.hands[hand].verify()}
        assert {at: problem is None for at, problem in found.items()} == {at: e.intact for at, e in self.model.items()}

    @rule(hand=HANDS, quota=QUOTAS)
    def collect(self, hand, quota):
        before = {row.path: row for row in self.hands[hand].ls()}
        removed = self.hands[hand].gc(quota)
        self.check_collected()
        left = {row.path: row for row in self.hands[hand].ls()}
        for path in left:
            row = before[path]
            pinned = self.step_pinned(row.key, row.step)
            longest = self.must_keep_one(row.key) and row.step == self.was_longest[row.key]
            # One that supersedes nothing is not hashed, so that it may be broken and nobody knows.
            alone = self.must_keep_one(row.key) and sum(r.key == row.key and not r.bad for r in before.values()) == 1
            over = quota is not None and sum(r.bytes for r in left.values()) > quota
            assert pinned or longest or alone or not over, "over the quota, and this one could have gone"
            assert pinned or not row.bad, "a bad one stayed"
        # No more than needed, in the promised order.
        taken = [row for row in removed if row.path in before and self.was_intact[row.path]]
        assert quota is not None or not taken
        if taken:
            since = removed[removed.index(taken[-1]) :]
            assert sum(row.bytes for row in [*left.values(), *since]) > quota, "the last one need not have gone"
        ages = {path: age for age, path in enumerate(before)}
        order = [(before[row.path].key.scope not in self.released, ages[row.path]) for row in taken]
        assert order == sorted(order)

    @rule(quota=QUOTAS, line=LINES)
    def collect_killed(self, quota, line):
        killed_at_line(line, self.root, lambda child: child.gc(quota), repeats=True)
        self.check_collected()

    def check_collected(self):
        """Whatever a collection took away, it might; the model forgets it."""
        left = {(row.key, row.step) for row in self.hands[0].ls()}
        keys = {key for key, _ in self.model}
        self.was_longest = {key: max(self.intact(key), default=None) for key in keys}
        self.was_intact = {entry.path: entry.intact for entry in self.model.values()}
        assert left <= set(self.model)
        for key, step in set(self.model) - left:
            assert not self.step_pinned(key, step), "a pinned one went"
            if self.model[key, step].intact and self.must_keep_one(key):
                assert step < self.was_longest[key], "the longest good one of a live key went"
            del self.model[key, step]

    @rule(hand=HANDS)
    def reopen(self, hand):
        self.hands[hand].close()
        self.hands[hand] = CheckpointRegistry(self.root)

    @rule(hand=HANDS, key=KEYS, step=STEPS, size=SIZES)
    def publish_in_a_forked_child(self, hand, key, step, size):
        content = self.new_content(size, False)
        assert in_child(lambda: self.hands[hand].publish(key, step, writer_of(content))) == 0
        row = next(r for r in self.hands[hand].ls() if (r.key, r.step) == (key, step))
        self.note(key, step, content, row.path)

    @invariant()
    def what_a_lookup_returned_to_an_owner_stays_until_unpinned(self):
        assert all(path.exists() for _, path in getattr(self, "held", ()))

    @invariant()
    def rows_are_the_model_and_whole(self):
        if not hasattr(self, "root"):
            return
        rows = {(row.key, row.step): row for row in self.hands[0].ls()}
        assert {at: row.path for at, row in rows.items()} == {at: entry.path for at, entry in self.model.items()}
        for at, entry in self.model.items():
            if entry.intact:
                assert rows[at].bad is None
                assert read(entry.path) == entry.content
                if "" in entry.content:
                    assert rows[at].sha256 == hashlib.sha256(entry.content[""]).hexdigest()


RegistryMachine.TestCase.settings = settings(
    max_examples=30, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestRegistryUnderRandomHistories = RegistryMachine.TestCase
