"""The same models as Hugging Face folders: Qwen2 weights and a character-level fast tokenizer.

``save_pretrained`` writes a folder that `transformers.AutoModelForCausalLM`, TRL, vLLM and verl load like any other.
Rotary pairs are neighbours in our weights and halves in Qwen2's, so query and key columns are permuted on the way.
transformers is imported here only: a trial does not pay for it.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from jfhpo.trainers.mini.model import MAX_POSITIONS, NORM_EPS, ROPE_BASE, ModelShape, Transformer
from jfhpo.trainers.mini.vocabulary import EOS, PAD, SPECIAL, Vocabulary

PLAIN_PROMPT = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
"""Chat template: the prompt as it is. The model knows no roles."""


def _halves(shape: ModelShape) -> Tensor:
    """Order of a head's columns that turns neighbouring pairs (0,1), (2,3), … into halves (0,2,…,1,3,…)."""
    one = torch.cat([torch.arange(0, shape.head_dim, 2), torch.arange(1, shape.head_dim, 2)])
    return torch.cat([one + head * shape.head_dim for head in range(shape.heads)])


def to_hf_state(model: Transformer) -> dict[str, Tensor]:
    """Weights under Qwen2's names, (out, in) as `torch.nn.Linear` keeps them."""
    d, order = model.shape.width, _halves(model.shape)
    state = {
        "model.embed_tokens.weight": model.embedding,
        "model.norm.weight": model.norm,
        "lm_head.weight": model.head.T,
    }
    for i, layer in enumerate(model.layers):
        at = f"model.layers.{i}"
        for name, weight, bias in zip("qkv", layer.qkv.T.split(d), layer.qkv_bias.split(d), strict=True):
            rows = torch.arange(d) if name == "v" else order
            state[f"{at}.self_attn.{name}_proj.weight"] = weight[rows]
            state[f"{at}.self_attn.{name}_proj.bias"] = bias[rows]
        gate, up = layer.gate_up.T.chunk(2)
        state |= {
            f"{at}.self_attn.o_proj.weight": layer.out.T,
            f"{at}.mlp.gate_proj.weight": gate,
            f"{at}.mlp.up_proj.weight": up,
            f"{at}.mlp.down_proj.weight": layer.down.T,
            f"{at}.input_layernorm.weight": layer.norm_attention,
            f"{at}.post_attention_layernorm.weight": layer.norm_mlp,
        }
    return {name: weight.detach().clone().contiguous() for name, weight in state.items()}


def load_hf_state(model: Transformer, state: dict[str, Tensor]) -> None:
    """Copy Qwen2 weights into the miniature model: the inverse of `to_hf_state`."""
    inverse = torch.argsort(_halves(model.shape))
    every = torch.arange(model.shape.width)
    with torch.no_grad():
        model.embedding.copy_(state["model.embed_tokens.weight"])
        model.norm.copy_(state["model.norm.weight"])
        model.head.copy_(state["lm_head.weight"].T)
        for i, layer in enumerate(model.layers):
            at = f"model.layers.{i}"
            rows = {"q": inverse, "k": inverse, "v": every}
            layer.qkv.copy_(torch.cat([state[f"{at}.self_attn.{n}_proj.weight"][r] for n, r in rows.items()]).T)
            layer.qkv_bias.copy_(torch.cat([state[f"{at}.self_attn.{n}_proj.bias"][r] for n, r in rows.items()]))
            layer.out.copy_(state[f"{at}.self_attn.o_proj.weight"].T)
            gate_up = [state[f"{at}.mlp.{n}_proj.weight"] for n in ("gate", "up")]
            layer.gate_up.copy_(torch.cat(gate_up).T)
            layer.down.copy_(state[f"{at}.mlp.down_proj.weight"].T)
            layer.norm_attention.copy_(state[f"{at}.input_layernorm.weight"])
            layer.norm_mlp.copy_(state[f"{at}.post_attention_layernorm.weight"])


def hf_config(shape: ModelShape):
    from transformers import Qwen2Config

    return Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.ff,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=MAX_POSITIONS,
        rms_norm_eps=NORM_EPS,
        rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=EOS,
        pad_token_id=PAD,
        dtype="float32",
    )


def hf_tokenizer(vocabulary: Vocabulary):
    """A character-level fast tokenizer with the same ids as `vocabulary`.

    It is of Qwen2's class because `AutoTokenizer` makes one of that class from any Qwen2 folder, whatever was saved.
    That class works on bytes: a space is written Ġ, and without merges every byte is a token.
    """
    from transformers import Qwen2Tokenizer

    fast = Qwen2Tokenizer(
        vocab={token.replace(" ", "Ġ"): i for token, i in vocabulary.id_of.items()},
        merges=[],
        unk_token=None,
        pad_token=SPECIAL[PAD],
        eos_token=SPECIAL[EOS],
        padding_side="left",
        model_max_length=MAX_POSITIONS,
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = PLAIN_PROMPT
    return fast


def save_pretrained(model: Transformer, vocabulary: Vocabulary, folder: Path) -> None:
    """Write weights, configuration, generation defaults and tokenizer as a Hugging Face model folder."""
    from transformers import GenerationConfig, Qwen2ForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    hf = Qwen2ForCausalLM(hf_config(model.shape))
    hf.load_state_dict(to_hf_state(model))
    hf.generation_config = GenerationConfig(eos_token_id=EOS, pad_token_id=PAD, do_sample=True, temperature=1.0)
    hf.save_pretrained(folder)
    hf_tokenizer(vocabulary).save_pretrained(folder)
