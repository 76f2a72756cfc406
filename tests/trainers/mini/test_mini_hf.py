"""The saved folder is a real Hugging Face model: same logits, same gradients, same tokens."""

import pytest
import torch

from jfhpo.trainers.mini import hf
from jfhpo.trainers.mini.family import load_base
from jfhpo.trainers.mini.model import MAX_POSITIONS, Packing, Transformer, token_logp
from tests.trainers.mini.tiny import SPLITS, VOCABULARY, gradients, ragged, random_model

transformers = pytest.importorskip("transformers")
PROMPTS = [example.prompt for example in SPLITS["train"]]


@pytest.fixture(scope="module")
def tokenizer(hf_folder):
    return transformers.AutoTokenizer.from_pretrained(hf_folder)


@pytest.fixture(scope="module", params=["xs", "l"])
def pair(request, tmp_path_factory):
    """The fast model and what transformers loads from its folder."""
    model, folder = random_model(request.param, seed=5), tmp_path_factory.mktemp(request.param)
    assert all(layer.qkv_bias.abs().min() > 0 for layer in model.layers)
    hf.save_pretrained(model, VOCABULARY, folder)
    return model, transformers.AutoModelForCausalLM.from_pretrained(folder).eval(), folder


def test_transformers_gives_the_same_logits(pair):
    model, theirs, _ = pair
    prompts, completions, mask = ragged(4, 3, 20)
    with torch.no_grad():
        ours = model.completion_logits(Packing(prompts, completions, mask))
        sequences = torch.cat([prompts.repeat_interleave(3, 0), completions], 1)
        logits = theirs(sequences).logits[:, prompts.shape[1] - 1 : -1][mask]
    assert logits.std() > 0.5  # not equal for want of anything to say
    torch.testing.assert_close(ours, logits, atol=1e-4, rtol=0)


def test_transformers_gives_the_same_gradients(pair):
    model, theirs, _ = pair
    prompts, completions, mask = ragged(3, 2, 9, seed=1)
    packing = Packing(prompts, completions, mask)
    model.flat.grad.zero_()
    token_logp(model.completion_logits(packing), packing.targets).mean().backward()
    theirs.zero_grad()
    logits = theirs(torch.cat([prompts.repeat_interleave(2, 0), completions], 1)).logits[:, prompts.shape[1] - 1 : -1]
    token_logp(logits[mask], packing.targets).mean().backward()
    ours = hf.to_hf_state(gradients(model))
    assert ours.keys() == dict(theirs.named_parameters()).keys()
    for name, parameter in theirs.named_parameters():
        torch.testing.assert_close(
            ours[name], parameter.grad, atol=1e-5, rtol=1e-3, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_the_saved_weights_load_back_bit_for_bit(pair):
    model, _, folder = pair
    assert torch.equal(load_base(folder, VOCABULARY).flat, model.flat)


@pytest.mark.parametrize("size", ["xs", "p", "m3"])
def test_load_hf_state_inverts_to_hf_state_bit_for_bit(size):
    model = random_model(size, seed=9)
    other = Transformer(model.shape, seed=1)
    hf.load_hf_state(other, hf.to_hf_state(model))
    assert torch.equal(other.flat, model.flat)


def test_the_state_is_a_copy():
    model = random_model()
    before = model.state()
    for weight in hf.to_hf_state(model).values():
        weight.zero_()
    assert torch.equal(model.flat, before)


def test_vocabulary_size_is_the_tokenizers(pair, tokenizer):
    model, theirs, _ = pair
    assert theirs.config.vocab_size == len(tokenizer) == len(VOCABULARY) == model.shape.vocabulary
    assert theirs.get_input_embeddings().weight.shape[0] == len(tokenizer)


def test_special_tokens_agree_everywhere(pair, tokenizer):
    _, theirs, _ = pair
    for config in (theirs.config, theirs.generation_config):
        assert (config.pad_token_id, config.eos_token_id) == (tokenizer.pad_token_id, tokenizer.eos_token_id) == (0, 1)
    assert theirs.config.max_position_embeddings == tokenizer.model_max_length == MAX_POSITIONS


def test_prompts_encode_to_the_same_ids_leading_spaces_included(tokenizer):
    assert any(p.startswith("  ") for p in PROMPTS)
    assert tokenizer(PROMPTS)["input_ids"] == [VOCABULARY.encode(p) for p in PROMPTS]
    assert tokenizer(VOCABULARY.task.alphabet)["input_ids"] == VOCABULARY.encode(VOCABULARY.task.alphabet)


def test_text_survives_encoding_and_decoding(tokenizer):
    for text in [*PROMPTS, VOCABULARY.task.alphabet, "1+2=3,3-5=8#8", " , #  "]:
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text
        assert VOCABULARY.decode(VOCABULARY.encode(text)) == (text, False)


def test_decoding_shows_or_skips_special_tokens(tokenizer):
    ids = [0, 0, *VOCABULARY.encode(" 1+2=#3"), 1, 0]
    assert tokenizer.decode(ids) == "<pad><pad> 1+2=#3<eos><pad>"
    assert tokenizer.decode(ids, skip_special_tokens=True) == " 1+2=#3"
    assert VOCABULARY.decode(ids) == ("<pad><pad> 1+2=#3", True)


def test_the_chat_template_is_the_plain_prompt(tokenizer):
    for prompt in PROMPTS[:8]:
        message = [{"role": "user", "content": prompt}]
        assert tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) == prompt
        ids = tokenizer.apply_chat_template(message, add_generation_prompt=True, return_dict=True)["input_ids"]
        assert ids == VOCABULARY.encode(prompt)


def test_batches_are_padded_on_the_left(tokenizer):
    assert tokenizer(["1+2=", "="], padding=True)["input_ids"][1][:3] == [0, 0, 0]
