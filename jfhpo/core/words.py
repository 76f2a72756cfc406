"""A command's words, ``key=value``, as every command of the project is told its settings; and how a command ends."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from jfhpo.core.errors import UsageError, unknown


def key_value(word: str, example: str) -> tuple[str, str]:
    """The two sides of a word; `example` is what one may look like."""
    key, equals, value = word.partition("=")
    if not equals:
        raise UsageError(f"'{word}' is not key=value; for example {example}")
    return key, value


def several(value: str) -> list[str]:
    """The items of ``[a,b]``, or of ``a`` alone; ``0..19`` is the whole numbers from 0 to 19."""
    found: list[str] = []
    for item in value.strip("[]").replace(" ", "").split(","):
        first, dots, last = item.partition("..")
        if dots and first.isdigit() and last.isdigit():
            found += map(str, range(int(first), int(last) + 1))
        elif item:
            found.append(item)
    return found


def settings(
    words: Sequence[str], defaults: Mapping[str, str], examples: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The words over the defaults; a `UsageError` for a key that has none, for a word that is not key=value, and for a
    key that is left without a value.

    Args:
        defaults: key -> its value where no word gives one; empty where a word has to.
        examples: key -> a value that it may have, for the messages; its default where it is missing here.
    """
    shown = {key: f"{key}={value}" for key, value in {**defaults, **(examples or {})}.items()}
    given = dict(defaults)
    for word in words:
        name = word.partition("=")[0]
        if name not in defaults:
            raise unknown("setting", name, defaults)
        given[name] = key_value(word, shown[name])[1]
    if empty := [key for key, value in given.items() if not value]:
        raise UsageError(f"{empty[0]}= needs a value; for example {shown[empty[0]]}")
    return given


def exit_code(command: Callable[[], int]) -> int:
    """The command's own; 2 after one line for bad input; 130 where it was stopped by hand."""
    try:
        return command()
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command continues", file=sys.stderr)
        return 130
