"""Four choices from a closed book: follow three relations from a thing to a thing, then give the option's letter.

``fwzy?kAbBgCmD`` asks for what is reached from f by the relations w, z and y, and is answered by
``fw=l,lz=j,jy=bB#B``: the thing reached is b, which is option B. The book holds 4 relations between 16 things. It is
not in the prompt; pre-training teaches it. The options are drawn alike among the things, and so is the right one's
place.
"""

from __future__ import annotations

import random
from typing import ClassVar, NamedTuple

from jfhpo.tasks.text_task import ANSWER_MARK, Corruption, TextTask

THINGS = "abcdefghijklmnop"
BOOK = {
    "w": "dohjnlefmibapgck",
    "x": "ofnhjmkplgeciadb",
    "y": "imdegpkonbjcfhal",
    "z": "hnbopkdacmljfige",
}
"""Relation -> what it leads to from each of `THINGS`, in their order. Permutations, so that no thing is reached more
often than another; drawn once at random, without a thing that leads to itself."""
LETTERS = "ABCD"


class Question(NamedTuple):
    start: str
    relations: str
    options: tuple[str, ...]
    """Four things, the right one among them."""


def follow(thing: str, relation: str) -> str:
    return BOOK[relation][THINGS.index(thing)]


def reached(start: str, relations: str) -> str:
    for relation in relations:
        start = follow(start, relation)
    return start


class FourChoices(TextTask):
    name: ClassVar[str] = "four_choices"
    alphabet: ClassVar[str] = f"{THINGS}{''.join(BOOK)}{LETTERS}?=,#"
    hops: ClassVar[int] = 3
    prompt_length: ClassVar[int] = 1 + hops + 1 + 2 * len(LETTERS)
    completion_length: ClassVar[int] = 5 * hops + 3  # "fw=k," per hop, "B#B" for the last comma, end

    def draw(self, rng: random.Random) -> Question:
        start, relations = rng.choice(THINGS), "".join(rng.choices(list(BOOK), k=self.hops))
        right = reached(start, relations)
        options = [right, *rng.sample([t for t in THINGS if t != right], k=len(LETTERS) - 1)]
        rng.shuffle(options)
        return Question(start, relations, tuple(options))

    def prompt(self, question: Question) -> str:
        options = "".join(f"{thing}{letter}" for thing, letter in zip(question.options, LETTERS, strict=True))
        return f"{question.start}{question.relations}?{options}"

    def answer(self, question: Question) -> str:
        return LETTERS[question.options.index(reached(question.start, question.relations))]

    def work(self, question: Question, rng: random.Random, corruption: Corruption) -> str:
        """Where wrong steps lead to a thing that is not among the options, the letter is a guess."""

        def spoilt(right: str, among: str) -> str:
            if rng.random() >= corruption.wrong_step:
                return right
            return rng.choice([other for other in among if other != right])

        if rng.random() < corruption.direct:
            return f"{ANSWER_MARK}{spoilt(self.answer(question), LETTERS)}"
        thing, steps = question.start, []
        for relation in question.relations:
            result = spoilt(follow(thing, relation), THINGS)
            steps.append(f"{thing}{relation}={result}")
            thing = result
        letter = LETTERS[question.options.index(thing)] if thing in question.options else rng.choice(LETTERS)
        return f"{','.join(steps)}{letter}{ANSWER_MARK}{letter}"
