"""The registry of a simulated study: it remembers which steps were saved, and there is nothing to keep of them.

It answers the calls that a study makes of a `CheckpointRegistry`. A simulated trainer is told where to go on by the
name of the checkpoint's path, which is the step.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jfhpo.study.checkpoints import Checkpoint, CheckpointKey


class MemoryCheckpoints:
    def __init__(self) -> None:
        self.saved: dict[CheckpointKey, set[int]] = defaultdict(set)

    def publish(
        self, key: CheckpointKey, step: int, write: Callable[[Path], Any], meta: Mapping[str, Any] | None = None
    ) -> None:
        write(Path(str(step)))  # the trainer tells what saving costs
        self.saved[key].add(step)

    def longest_prefix(self, key: CheckpointKey, max_step: int, owner: str | None = None) -> Checkpoint | None:
        step = max((s for s in self.saved.get(key, ()) if s <= max_step), default=None)
        if step is None:
            return None
        return Checkpoint(key, step, Path(str(step)), bytes=0, sha256="", created=0.0)

    def unpin(self, owner: str) -> None:
        """There are no pins: nothing is ever deleted."""

    def release(self, scope: str) -> None:
        """The study ends, and this with it."""

    def gc(self) -> None:
        """There is nothing to collect."""
