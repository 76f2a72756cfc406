"""A reward function as TRL calls it: a fifth for an answer in the right form, the rest for the right one."""

import re


def score(completions, answer, **columns):
    def one(completion, right):
        given = re.search(r"#(\d)$", completion)
        return 0.0 if given is None else 0.2 + 0.8 * (given.group(1) == right)

    return [one(completion, right) for completion, right in zip(completions, answer, strict=True)]
