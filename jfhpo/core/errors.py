"""What a person is told when something cannot be done."""

import difflib
from collections.abc import Iterable, Sequence


class UsageError(ValueError):
    """Bad input: one line that names the setting, the value, what is allowed and what to do. Exit code 2."""


def nearest(word: str, allowed: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the closest allowed word, or an empty string when none is close."""
    match = difflib.get_close_matches(word, [str(a) for a in allowed], n=1, cutoff=0.6)
    return f" (did you mean '{match[0]}'?)" if match else ""


def unknown(what: str, word: object, allowed: Iterable[object]) -> UsageError:
    """The error for a name that is not one of a known few."""
    names = sorted(str(a) for a in allowed)
    return UsageError(f"unknown {what} '{word}'{nearest(str(word), names)}; valid: {', '.join(names)}")


def check_choices(settings: object, **choices: Sequence[str]) -> None:
    """A `UsageError` for a method's setting that is none of its choices."""
    for name, allowed in choices.items():
        if getattr(settings, name) not in allowed:
            raise unknown(f"method.{name}", getattr(settings, name), allowed)


def check_counts(settings: object, **least: int) -> None:
    """A `UsageError` for a method's setting below the least value that makes sense."""
    for name, low in least.items():
        if getattr(settings, name) < low:
            raise UsageError(f"method.{name}={getattr(settings, name)} must be at least {low}")
