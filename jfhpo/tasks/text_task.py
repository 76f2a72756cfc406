"""`TextTask`: a generated reasoning task over a small alphabet, for models of a few thousand parameters.

A prompt has a fixed width, so that no engine has to pad or mask it: what transformers, TRL, vLLM and verl read is
character for character what the miniature trainer reads. A completion works step by step and ends in
``#answer`` and the end-of-sequence token; the reward is 1 if what stands between the first ``#`` and
end-of-sequence is exactly the answer, else 0.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, ClassVar

ANSWER_MARK = "#"
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Corruption:
    """How worked solutions are spoilt, to make a base model that reinforcement learning has something to teach."""

    direct: float = 0.0
    """Share of solutions that skip the working and give the answer at once."""
    wrong_step: float = 0.0
    """Chance of a wrong result in each step (later steps go on from it)."""


@dataclass(frozen=True)
class Example:
    prompt: str
    answer: str


class TextTask(ABC):
    """A subclass draws questions and works them; splits and checking are the same for all."""

    name: ClassVar[str]
    alphabet: ClassVar[str]
    """Every character of prompts and completions."""
    prompt_length: ClassVar[int]
    completion_length: ClassVar[int]
    """Longest worked solution in tokens, end-of-sequence included: the limit on sampled completions."""
    pollution: ClassVar[Corruption] = Corruption(direct=0.65, wrong_step=0.25)
    """How solutions are spoilt for a base that answers 10-40 % right (docs/tasks.md)."""

    @abstractmethod
    def draw(self, rng: random.Random) -> Any:
        """A random question: any hashable value that `prompt`, `answer` and `work` understand."""

    @abstractmethod
    def prompt(self, question: Any) -> str:
        """The question as text of exactly `prompt_length` characters."""

    @abstractmethod
    def answer(self, question: Any) -> str: ...

    @abstractmethod
    def work(self, question: Any, rng: random.Random, corruption: Corruption) -> str:
        """A worked solution ending in ``#answer``, end-of-sequence not included."""

    def splits(self, sizes: dict[str, int], seed: int = 1234) -> dict[str, list[Example]]:
        """Disjoint train, validation and test examples: no prompt is in two of them, or twice in one.

        Drawn smallest first, so that a larger training split leaves the others as they are.
        """
        rng, seen, out = random.Random(seed), set(), {}
        for split in ("test", "validation", "train"):
            out[split] = []
            while len(out[split]) < sizes[split]:
                question = self.draw(rng)
                if (text := self.prompt(question)) not in seen:
                    seen.add(text)
                    out[split].append(Example(text, self.answer(question)))
        return out

    def demonstrations(
        self, count: int, rng: random.Random, corruption: Corruption, held_out: Set[str]
    ) -> list[tuple[str, str]]:
        """(prompt, worked solution) pairs for pre-training, none of them with a held-out prompt."""
        pairs = []
        while len(pairs) < count:
            question = self.draw(rng)
            if (text := self.prompt(question)) not in held_out:
                pairs.append((text, self.work(question, rng, corruption)))
        return pairs

    @staticmethod
    def check(completion: str, answer: str, ended: bool = True) -> float:
        """1.0 if what follows the first ``#`` is exactly `answer` and the completion ended there, else 0.0.

        `ended`: whether the model produced end-of-sequence (a completion cut at the length limit did not).
        """
        _, mark, given = completion.partition(ANSWER_MARK)
        return float(bool(mark) and ended and given == answer)
