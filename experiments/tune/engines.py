"""What of a user's file is put differently for each engine: names of hyperparameters, fixed settings, data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from experiments.tune.file import TuneFile
from jfhpo.tasks.datasets.own import OWN
from jfhpo.trainers.hf.problem import check_names
from jfhpo.trainers.trl.arguments import FIELDS, TrlSettings
from jfhpo.trainers.verl.overrides import KEYS

NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {"trl": FIELDS, "verl": KEYS}
"""Engine -> our name of a hyperparameter -> its own keys."""


def our_name(engine: str, key: str) -> str:
    """Our name of a hyperparameter that the user calls by the engine's key, where there is one: methods know `lr` by
    its name, and carry it from one model size to another."""
    for name, keys in NAMES[engine].items():
        if keys == (key,):
            return name
    return key


def data_of(file: TuneFile) -> tuple[str, dict[str, Any]]:
    """``problem.task`` and ``problem.data``."""
    if "name" in file.data:
        if file.reward != file.data["name"]:
            raise file.error(
                f"reward={file.reward}, but data.name={file.data['name']} has a check of its own; for another, write "
                f"its rows (jfhpo data {file.data['name']} --to {file.engine} --out …) and name them in data.train"
            )
        return file.data["name"], {key: value for key, value in file.data.items() if key != "name"}
    data = {("share" if key == "validation_share" else key): value for key, value in file.data.items()}
    return OWN, {**data, "reward": file.reward}


def trainer_settings(file: TuneFile) -> dict[str, Any]:
    """``problem.trainer_settings``."""
    return _trl(file) if file.engine == "trl" else _verl(file)


def _trl(file: TuneFile) -> dict[str, Any]:
    """Settings of ours (`TrlSettings`) and arguments of `GRPOConfig`, which the user may mix."""
    ours = {f.name for f in fields(TrlSettings)} - {"arguments"}
    theirs = {key: value for key, value in file.settings.items() if key not in ours}
    for name in FIELDS:
        if name in theirs:
            for field in FIELDS[name]:
                theirs[field] = theirs[name]
            del theirs[name]
    check_names(theirs, sorted(ours | set(FIELDS)), "GRPOConfig")
    return {key: value for key, value in file.settings.items() if key in ours} | {"arguments": theirs}


def _verl(file: TuneFile) -> dict[str, Any]:
    raise NotImplementedError
