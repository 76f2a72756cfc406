"""The same model with wider attention heads, for vLLM: it has no attention kernel for the heads of small models.

vLLM's CPU kernels come for the head sizes `KERNELS`; the miniature family's heads have 12 to 32 dimensions. A head of
h dimensions becomes one of h' = m·h that computes the same: its dimensions keep their rotary frequencies, and the new
ones are zero. Of h' dimensions, pair j turns with base^(−2j/h'), so pair i of h, with base^(−2i/h), becomes pair m·i.
The scores are scaled by 1/√h', so queries and keys are each multiplied by m^(1/4).

Training leaves the new dimensions at zero: the gradient of a new query row is a multiple of the new key rows, and the
other way round; that of a new value row of the output projection's new columns, and the other way round; and a weight
of zero with a gradient of zero is left alone by Adam and by weight decay. What does differ from the narrow model is the
step that Adam takes in queries and keys, by the factor m^(−1/4) (docs/deviations.md).

Qwen2 ties the width of heads to that of the model, in vLLM; Seed-OSS is the same architecture without that tie, biases
for queries, keys and values alone included.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jfhpo.core.errors import UsageError

KERNELS = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256)
"""Head sizes that vLLM 0.27 has kernels for on a CPU (vllm/v1/attention/backends/cpu_attn.py:60)."""


def needed(folder: Path) -> bool:
    """Whether the model of a Hugging Face folder has heads that vLLM cannot run."""
    return head_size(_config(folder)) not in KERNELS


def head_size(config: Mapping[str, Any]) -> int:
    return int(config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"])


def widened_size(size: int) -> int:
    """The least kernel size that is a multiple of a head size; `UsageError` where there is none."""
    for kernel in KERNELS:
        if kernel % size == 0:
            return kernel
    raise UsageError(f"vLLM has no attention kernel for heads of {size} dimensions, or of a multiple; it has {KERNELS}")


def widen(folder: Path, out: Path) -> None:
    """Write to `out` the folder's model with heads of the least width that vLLM can run, and its tokenizer.

    Raises:
        UsageError: a model that is not Qwen2's, or whose heads no kernel fits.
    """
    from safetensors.torch import load_file, save_file
    from transformers import SeedOssConfig

    given = _config(folder)
    if given.get("model_type") != "qwen2":
        raise UsageError(f"{folder}: heads of {head_size(given)} dimensions can be widened for Qwen2 models alone")
    narrow = head_size(given)
    wide = widened_size(narrow)
    state = load_file(folder / "model.safetensors")
    tensors = {name: _widened(name, tensor, narrow, wide) for name, tensor in state.items()}
    shutil.copytree(folder, out, ignore=shutil.ignore_patterns("*.safetensors", "config.json", "base.json"))
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    kept = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "rope_parameters", "tie_word_embeddings",
        "bos_token_id", "eos_token_id", "pad_token_id", "initializer_range",
    )  # fmt: skip
    config = SeedOssConfig(**{name: given[name] for name in kept}, head_dim=wide, attention_dropout=0.0)
    config.residual_dropout, config.architectures, config.dtype = 0.0, ["SeedOssForCausalLM"], "float32"
    config.save_pretrained(out)


def _widened(name: str, tensor: Any, narrow: int, wide: int) -> Any:
    """A weight (out, in) or bias (out,) of the wide model."""
    part = name.rpartition("self_attn.")[2].partition("_proj")[0]
    if "self_attn" not in name or part not in "qkvo":
        return tensor
    if part == "o":
        return _spread(tensor.T, narrow, wide, pairs=False).T.contiguous()
    factor = (wide / narrow) ** 0.25 if part in "qk" else 1.0
    return factor * _spread(tensor, narrow, wide, pairs=part in "qk")


def _spread(rows: Any, narrow: int, wide: int, pairs: bool) -> Any:
    """Rows (heads · narrow, …) -> (heads · wide, …), zero between; `pairs` keeps rotary pairs (i, i + size/2)."""
    import torch

    heads = rows.shape[0] // narrow
    at = torch.arange(narrow)
    if pairs:
        first = torch.arange(narrow // 2) * (wide // narrow)
        at = torch.cat([first, first + wide // 2])
    out = rows.new_zeros((heads, wide, *rows.shape[1:]))
    out[:, at] = rows.view(heads, narrow, *rows.shape[1:])
    return out.view(heads * wide, *rows.shape[1:])


def _config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())
