"""What the trainer has to know of a model before verl loads it: its tokenizer and the size of its matrix products."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import TrainingFailed
from jfhpo.trainers.hf.shape import matrix_parameters, without_weights


@dataclass(frozen=True)
class Model:
    path: str
    tokenizer: Any
    weights: int
    """`jfhpo.trainers.hf.shape.matrix_parameters`."""


def check_path(name: str, path: str) -> None:
    """A `UsageError` for a local folder that holds no model. A hub name, ``owner/name``, is looked up when it is
    loaded: there may be no network here."""
    folder = Path(path).expanduser()
    if not folder.exists():
        if path.startswith(("/", ".", "~")) or path.count("/") != 1:
            raise UsageError(f"problem.models.{name}.path={path}: there is no such folder, and it is no hub name")
        return
    wanted = {"config.json": "config.json", "tokenizer*": "tokenizer", "*.safetensors": "weights (*.safetensors)"}
    for pattern, what in wanted.items():
        if not any(folder.glob(pattern)):
            raise UsageError(
                f"problem.models.{name}.path={path} has no {what}; it must be a Hugging Face model's folder"
            )


@functools.cache
def read(path: str) -> Model:
    """Raises `TrainingFailed` for a model that cannot be read, or whose tokenizer knows no chat."""
    from transformers import AutoConfig, AutoTokenizer

    path = str(Path(path).expanduser().absolute()) if Path(path).expanduser().exists() else path
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
        model = without_weights(AutoConfig.from_pretrained(path))
    except (OSError, ValueError) as error:
        raise TrainingFailed(f"the model {path} cannot be read: {str(error).splitlines()[0]}") from error
    if tokenizer.chat_template is None:
        raise TrainingFailed(f"the tokenizer of {path} has no chat template; verl knows prompts as messages only")
    return Model(path, tokenizer, matrix_parameters(model))


@functools.cache
def on_cpu(device: str) -> bool:
    """Whether ``problem.trainer_settings.device`` means the CPU on this machine."""
    if device == "auto":
        import torch

        return not torch.cuda.is_available()
    return device == "cpu"
