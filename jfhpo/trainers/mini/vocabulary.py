"""Text to token ids and back: one token per character, then padding and end-of-sequence."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from jfhpo.tasks.text_task import ANSWER_MARK, Example, TextTask

PAD, EOS = 0, 1
SPECIAL = ("<pad>", "<eos>")


class Vocabulary:
    def __init__(self, task: TextTask):
        self.task = task
        self.tokens = [*SPECIAL, *task.alphabet]
        self.id_of = {token: i for i, token in enumerate(self.tokens)}
        self.answer_mark = self.id_of[ANSWER_MARK]

    def __len__(self) -> int:
        return len(self.tokens)

    def encode(self, text: str) -> list[int]:
        return [self.id_of[c] for c in text]

    def decode(self, ids: Sequence[int]) -> tuple[str, bool]:
        """The text before end-of-sequence, and whether end-of-sequence was there."""
        text = []
        for i in ids:
            if i == EOS:
                return "".join(text), True
            text.append(self.tokens[i])  # padding before end-of-sequence was sampled, and is as wrong as any character
        return "".join(text), False

    def batch(self, examples: Sequence[Example]) -> EncodedSplit:
        """Prompts (len, P) and answers followed by end-of-sequence and padding (len, A)."""
        prompts = torch.tensor([self.encode(e.prompt) for e in examples])
        answers = [[*self.encode(e.answer), EOS] for e in examples]
        width = max(map(len, answers))
        return EncodedSplit(prompts, torch.tensor([a + [PAD] * (width - len(a)) for a in answers]), self.answer_mark)

    def pad(self, texts: Sequence[str], length: int) -> Tensor:
        """Texts with end-of-sequence, padded to (len(texts), length)."""
        rows = [[*self.encode(t), EOS] for t in texts]
        return torch.tensor([r + [PAD] * (length - len(r)) for r in rows])


class EncodedSplit:
    """One split as tensors, with the exact-match reward of `TextTask.check` on token ids."""

    def __init__(self, prompts: Tensor, answers: Tensor, answer_mark: int):
        self.prompts, self.answers, self.answer_mark = prompts, answers, answer_mark

    def __len__(self) -> int:
        return len(self.prompts)

    def reward(self, which: Tensor, completions: Tensor) -> Tensor:
        """1.0 where what follows the first ``#`` is the answer and end-of-sequence, else 0.0: (N,).

        `which` (N,) are the examples of the completions (N, C).
        """
        answers = self.answers[which]
        length = completions.shape[1]
        marks = completions == self.answer_mark
        # Tokens after end-of-sequence are padding, so the first mark of a row lies before it or nowhere.
        at = marks.int().argmax(1, keepdim=True) + 1 + torch.arange(answers.shape[1])
        given = completions.gather(1, at.clamp(max=length - 1))
        right = ((given == answers) & (at < length)) | (answers == PAD)
        return (right.all(1) & marks.any(1)).float()
