"""What the tests of TRL's and SFT's trainers ask of both in the same words: nothing that a study does shows.

`make` is a new trainer, `trial` a trial with changes to its configuration, and `whole` the records (`told`) and the
trained weights of that trial run through without a stop, six steps of it.
"""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from jfhpo.core.trainer import CheckpointError, TrainingFailed


def told(records) -> list[dict]:
    """Records without what is measured in seconds, NaN as text so that it equals itself."""
    rows = [dataclasses.asdict(r) | {"cost": (r.cost.tokens, r.cost.flops)} for r in records]
    return [{k: "nan" if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()} for row in rows]


def weights(trainer) -> list[torch.Tensor]:
    """All that is trained."""
    return [p.detach().clone() for p in trainer.run.trainer.model.parameters() if p.requires_grad]


def assert_resumes_bit_for_bit(make, trial, whole, folder) -> None:
    first = make()
    records = first.start(trial())
    begun = told([next(records) for _ in range(4)])
    first.save(folder / "at-4")
    after_saving = told(records)
    second = make()
    resumed = told(second.start(trial(), folder / "at-4"))
    assert begun + after_saving == whole[0], "saving changes nothing"
    assert begun + resumed == whole[0]
    assert all(map(torch.equal, weights(second), whole[1]))


def assert_validation_changes_nothing(make, trial, whole) -> None:
    watched = told(make().start(trial(validate_at=(2, 4))))
    assert [r["val_accuracy"] is not None for r in watched] == [False, True, False, True, False, True]
    same = [r | {"val_accuracy": None, "cost": None} for r in watched]
    assert same == [r | {"val_accuracy": None, "cost": None} for r in whole[0]]


def assert_other_checkpoints_are_refused(make, trial, folder, **other) -> None:
    """`other` is a change to the configuration."""
    trainer = make()
    next(trainer.start(trial(steps=2)))
    trainer.save(folder / "one")
    with pytest.raises(CheckpointError, match="config"):
        trainer.start(trial(**other), folder / "one")
    with pytest.raises(CheckpointError, match="cannot be read"):
        trainer.start(trial(), folder / "none")


def assert_divergence_fails_the_trial_alone(make, trial, whole, lr) -> None:
    trainer = make()
    with pytest.raises(TrainingFailed, match=r"is nan|is inf|ended"):
        list(trainer.start(trial(lr=lr)))
    assert told(trainer.start(trial()))[:1] == whole[0][:1]
