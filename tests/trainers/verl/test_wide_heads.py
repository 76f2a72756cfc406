"""Wider heads for vLLM's kernels: the same function, and the same training but for the scale of queries and keys."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jfhpo.core.errors import UsageError
from jfhpo.trainers.mini import hf
from jfhpo.trainers.verl import wide_heads
from tests.trainers.mini.tiny import VOCABULARY, random_model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    at = tmp_path_factory.mktemp("models")
    hf.save_pretrained(random_model(seed=3, sharpness=1.0), VOCABULARY, at / "narrow")
    wide_heads.widen(at / "narrow", at / "wide")
    return at / "narrow", at / "wide"


def load(folder):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def test_it_computes_the_same_logits(folders):
    narrow, wide = map(load, folders)
    assert narrow.config.hidden_size // narrow.config.num_attention_heads < wide.config.head_dim == 32
    ids = torch.randint(2, len(VOCABULARY), (5, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(wide(ids).logits, narrow(ids).logits, atol=2e-5, rtol=1e-5)


def test_the_new_dimensions_stay_zero_in_training(folders):
    narrow, model = map(load, folders)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)
    ids = torch.randint(2, len(VOCABULARY), (8, 12), generator=torch.Generator().manual_seed(2))
    for _ in range(3):
        optimizer.zero_grad()
        model(ids, labels=ids).loss.backward()
        optimizer.step()
    for name, parameter in model.named_parameters():
        padding = before[name] == 0 if "self_attn" in name else torch.zeros_like(parameter, dtype=torch.bool)
        assert (parameter[padding] == 0).all(), name
        assert (parameter[~padding] != before[name][~padding]).any(), name
    assert sum(p.numel() for p in model.parameters()) > sum(p.numel() for p in narrow.parameters())


def test_the_tokenizer_comes_along(folders):
    first, second = map(AutoTokenizer.from_pretrained, folders)
    assert first("1+2=")["input_ids"] == second("1+2=")["input_ids"]
    assert first.chat_template == second.chat_template


@pytest.mark.parametrize("size, wide", [(12, 96), (16, 32), (24, 96), (32, 32), (8, 32), (20, 80)])
def test_the_least_kernel_that_is_a_multiple(size, wide):
    assert wide_heads.widened_size(size) == wide


def test_what_cannot_be_widened_is_refused(tmp_path):
    with pytest.raises(UsageError, match="heads of 36 dimensions"):
        wide_heads.widened_size(36)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "gpt2", "hidden_size": 24, "num_attention_heads": 2})
    )
    assert wide_heads.needed(tmp_path)
    with pytest.raises(UsageError, match="for Qwen2 models alone"):
        wide_heads.widen(tmp_path, tmp_path / "wide")
