"""What a Hugging Face model is, read from its configuration without loading a weight: sizes for a study's family."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError
from jfhpo.core.trainer import TrainingFailed

WEIGHTS = ("*.safetensors", "*.bin")


def read_shape(path: str, setting: str) -> dict[str, Any]:
    """``path``, ``parameters``, ``width`` and the rest of `jfhpo.trainers.declared.KNOWN`, of a folder or a hub name.

    Raises:
        UsageError: a folder without configuration, weights or tokenizer, or a name that the hub does not give.
    """
    folder = Path(path).expanduser()
    if folder.is_dir():
        _check_folder(folder, setting)
    elif path.startswith((".", "/", "~")) or path.count("/") != 1:
        raise UsageError(f"{setting}={path}: no such folder, and a name on the hub is owner/name")
    from transformers import AutoConfig, AutoTokenizer

    name = str(folder) if folder.is_dir() else path
    try:
        config = AutoConfig.from_pretrained(name)
        AutoTokenizer.from_pretrained(name)
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{setting}={path} cannot be read: {_first_line(error)}") from error
    return {"path": name, **shape_of(config)}


def shape_of(config: Any) -> dict[str, int]:
    """Parameters (tied ones once) and sizes of the causal language model of a `transformers` configuration."""
    model = without_weights(config)
    heads = config.num_attention_heads
    ends = {id(m.weight): m.weight for m in (model.get_input_embeddings(), model.get_output_embeddings())}
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "width": config.hidden_size,
        "layers": config.num_hidden_layers,
        "kv_heads": getattr(config, "num_key_value_heads", None) or heads,
        "head_dim": getattr(config, "head_dim", None) or config.hidden_size // heads,
        "vocabulary": config.vocab_size,
        "embeddings": sum(weight.numel() for weight in ends.values()),
    }


def without_weights(config: Any) -> Any:
    """The causal language model of a configuration, of which nothing is stored but shapes."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def model_path(models: Mapping[str, str], size: str) -> str:
    """Where a size of the family lies; `TrainingFailed` for one that the trainer does not have."""
    if size not in models:
        raise TrainingFailed(f"model '{size}' is none of the trainer's: {', '.join(models)}")
    return models[size]


def matrix_parameters(model: Any) -> int:
    """Parameters of all matrix products (embedding look-ups are free)."""
    return sum(p.numel() for p in model.parameters()) - model.get_input_embeddings().weight.numel()


def _check_folder(folder: Path, setting: str) -> None:
    if not (folder / "config.json").is_file():
        raise UsageError(f"{setting}={folder} holds no config.json: it is no model folder")
    if not any(True for pattern in WEIGHTS for _ in folder.glob(pattern)):
        raise UsageError(f"{setting}={folder} holds no weights ({' or '.join(WEIGHTS)})")


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
