"""A training split whose reward is partial credit (`jfhpo.tasks.graded`) instead of the exact answer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jfhpo.tasks.graded import credit, solution
from jfhpo.tasks.text_task import Example
from jfhpo.trainers.mini.vocabulary import EncodedSplit, Vocabulary


class GradedSplit(EncodedSplit):
    """An encoded split and the clean solutions of its prompts."""

    def __init__(self, encoded: EncodedSplit, examples: Sequence[Example], vocabulary: Vocabulary):
        super().__init__(encoded.prompts, encoded.answers, encoded.answer_mark)
        self.vocabulary = vocabulary
        self.solutions = [solution(vocabulary.task, example.prompt) for example in examples]

    def reward(self, which: Tensor, completions: Tensor) -> Tensor:
        """Share of working steps and answer that are right: (N,), of the examples `which` (N,)."""
        pairs = zip(which.tolist(), completions.tolist(), strict=True)
        graded = []
        for i, ids in pairs:
            text, ended = self.vocabulary.decode(ids)
            graded.append(credit(text, self.solutions[i], ended))
        return torch.tensor(graded)
