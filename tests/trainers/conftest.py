"""Base models for the tests: random ones, one that guesses, and one that GRPO can teach something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from jfhpo.tasks.text_task import Corruption
from jfhpo.trainers.mini import hf, trainer
from jfhpo.trainers.mini.family import BaseSpec, build_base
from tests.trainers.mini import tiny


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """As in a worker: small products only get slower with more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random xs model, as `save_pretrained` leaves it."""
    folder = tmp_path_factory.mktemp("hf")
    hf.save_pretrained(tiny.random_model("xs"), tiny.VOCABULARY, folder)
    return folder


@pytest.fixture(scope="session")
def guessing_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An xs base that mostly guesses the answer at once: right every tenth time, so that rewards differ, and made
    in seconds."""
    guess = {"max_steps": 10, "bar": 0.0, "polluted_steps": 80, "pollution": Corruption(0.8, 0.0), "pool": 4000}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JFHPO_CACHE", str(tmp_path_factory.mktemp("cache")))
        return build_base(BaseSpec.of("last_digit", "xs", guess))


@pytest.fixture(scope="session")
def skilled_base(pytestconfig: pytest.Config) -> Path:
    """The family's own xs base, made once (about a minute) and kept in the cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JFHPO_CACHE", str(pytestconfig.rootpath / ".jfhpo_cache"))
        spec = BaseSpec.of("last_digit", "xs")
        return spec.folder if spec.made else build_base(spec)


@pytest.fixture
def small_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """64 training prompts, so that a short run sees several epochs, and validation that costs next to nothing."""
    monkeypatch.setattr(trainer, "SPLIT_SIZES", tiny.SPLIT_SIZES)
