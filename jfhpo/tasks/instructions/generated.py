"""Instructions at miniature scale: what to do in a word, then a question of one of the four generated tasks.

``  sort:53819=`` is answered by ``35,358,1358#13589``, ``digit:2-4*4-9-8=`` by ``2-4=8,8*4=2,2-9=3,3-8=5#5``. One
vocabulary and one model for all; each task is drawn as often as another. A base model that was pre-trained on all of
them and then spoilt (`jfhpo.trainers.mini.pretrain`) knows the tasks and answers badly: what is left for fine-tuning is
to have it answer as instructed.
"""

from __future__ import annotations

import random
from typing import Any, ClassVar

from jfhpo.tasks import TASKS
from jfhpo.tasks.text_task import Corruption, Example, TextTask

WORDS = {"last_digit": "digit:", "linear_equation": "solve:", "sorting": "sort:", "four_choices": "pick:"}
"""Task -> its instruction."""
CLEAN = Corruption()

Question = tuple[str, Any]
"""A task's name and one of its questions."""


class Instructions(TextTask):
    name: ClassVar[str] = "instructions"
    parts: ClassVar[tuple[TextTask, ...]] = tuple(TASKS[name] for name in WORDS)
    alphabet: ClassVar[str] = "".join(sorted(set("".join([*WORDS.values(), *(part.alphabet for part in parts)]))))
    prompt_length: ClassVar[int] = max(len(WORDS[part.name]) + part.prompt_length for part in parts)
    completion_length: ClassVar[int] = max(part.completion_length for part in parts)

    def draw(self, rng: random.Random) -> Question:
        part = rng.choice(self.parts)
        return part.name, part.draw(rng)

    def prompt(self, question: Question) -> str:
        name, asked = question
        return (WORDS[name] + TASKS[name].prompt(asked).strip()).rjust(self.prompt_length)

    def answer(self, question: Question) -> str:
        name, asked = question
        return TASKS[name].answer(asked)

    def work(self, question: Question, rng: random.Random, corruption: Corruption) -> str:
        name, asked = question
        return TASKS[name].work(asked, rng, corruption)

    def drawn(self, sizes: dict[str, int], seed: int = 1234) -> dict[str, list[Question]]:
        """The questions of `splits`, drawn as `TextTask.splits` draws them: no prompt comes twice."""
        rng, seen, out = random.Random(seed), set(), {}
        for split in ("test", "validation", "train"):
            out[split] = []
            while len(out[split]) < sizes[split]:
                question = self.draw(rng)
                if (text := self.prompt(question)) not in seen:
                    seen.add(text)
                    out[split].append(question)
        return out

    def splits(self, sizes: dict[str, int], seed: int = 1234) -> dict[str, list[Example]]:
        drawn = self.drawn(sizes, seed)
        return {s: [Example(self.prompt(q), self.answer(q)) for q in questions] for s, questions in drawn.items()}

    def solution(self, question: Question) -> str:
        """The clean worked solution, of which there is one."""
        return self.work(question, random.Random(0), CLEAN)


TEXT_TASKS: dict[str, TextTask] = {**TASKS, Instructions.name: Instructions()}
"""Everything that a miniature base can be made for: the tasks of reinforcement learning, and these instructions."""
