"""A study without a checkpoint registry (``checkpoints=false``): nothing is saved, so nothing is resumed or reused.

It answers the calls that a study makes of a `CheckpointRegistry` and touches no file. Every trial starts from the base
model and pays for all of its steps; the test evaluation trains the recommended configuration once more, uncharged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jfhpo.study.checkpoints import CheckpointKey


class NoCheckpoints:
    """Keeps nothing and finds nothing. See `CheckpointRegistry` for what the calls mean there."""

    def publish(
        self, key: CheckpointKey, step: int, write: Callable[[Path], Any], meta: Mapping[str, Any] | None = None
    ) -> None:
        """Does not even call `write`: a checkpoint that nobody will read costs its trial nothing."""

    def longest_prefix(self, key: CheckpointKey, max_step: int, owner: str | None = None) -> None:
        """None: there is never one."""

    def unpin(self, owner: str) -> None:
        """There are no pins."""

    def release(self, scope: str) -> None:
        """There is nothing that a scope could let go of."""

    def gc(self) -> None:
        """There is nothing to collect."""
