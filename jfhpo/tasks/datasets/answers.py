"""Reading the final answer out of a completion: numbers, letters and LaTeX boxes, by exact rules.

Every function looks at a bounded piece of the text, so that a completion of any length costs next to nothing.
`strict` wants the answer where the prompt asked for it; `flexible` also takes it from elsewhere.
"""

from __future__ import annotations

import re
from fractions import Fraction

MARK = "####"
LOOKED_AT = 300
"""Characters from the end in which a marked answer has to lie (verl's `gsm8k.py` looks at as many)."""
LONGEST_BOX = 1000
"""Characters of the longest ``\\boxed{...}`` that is read."""
LETTERS = "ABCD"

_NUMBER = (
    r"(?P<sign>[-−+]?)(?:\\?[$€£])?\s?(?P<inner>[-−]?)"
    r"(?P<whole>\d{1,3}(?:,\d{3})+(?!,?\d)|\d*)(?P<decimals>\.\d+)?(?<=\d)"
    r"(?:\s?/\s?(?P<below>\d+))?"
)
_MARKED_NUMBER = re.compile(_NUMBER + r"\.?(?P<unit>[^\d=+*/^<>]*)")
_ANY_NUMBER = re.compile(r"(?<![\w)])" + _NUMBER)
_MARKED_LETTER = re.compile(r"(?:\*\*|\\boxed\{|\\text\{|[($\[])*(?P<letter>[A-Da-d])(?:[)\]}.:*$].*)?")
_SAID_LETTER = re.compile(
    r"(?:(?i:answer\s*(?:is|:))|(?i:option)|\\boxed\{)\s*(?:\*\*|\\text\{|[($\[])*(?P<letter>[A-D])(?![\w'])"
)


def after_mark(text: str) -> str | None:
    """What stands after the last ``####`` on its line; an empty one makes way for the one before it."""
    for piece in reversed(text[-LOOKED_AT:].split(MARK)[1:]):
        if line := piece.split("\n", 1)[0].strip():
            return line
    return None


def number(text: str, extraction: str = "strict") -> Fraction | None:
    """The number that a completion answers, as an exact fraction: None where there is none.

    A currency sign, thousands separators in their places, decimals, ``a/b`` and words behind it (a unit, ``%``) are
    understood. More digits or an operator behind it make it no answer: ``#### 3 x 4 = 12`` is none.
    """
    if (line := after_mark(text)) is not None:
        found = _MARKED_NUMBER.fullmatch(line)
        return _value(found) if found else None
    if extraction == "flexible":
        return _value(last) if (last := _last(_ANY_NUMBER, text)) else None
    return None


def _value(found: re.Match[str]) -> Fraction | None:
    below = int(found["below"] or 1)
    if below == 0:
        return None
    minus = (found["sign"] in "-−" and found["sign"] != "") != (found["inner"] != "")
    size = Fraction(found["whole"].replace(",", "") + (found["decimals"] or "")) / below
    return -size if minus else size


def letter(text: str, extraction: str = "strict") -> str | None:
    """The letter of `LETTERS` that a completion answers, or None.

    ``B``, ``b``, ``(B)``, ``**B**``, ``B. the option's text``; not ``B or C``, and not the article of ``A dog``.
    """
    if (line := after_mark(text)) is not None:
        found = _MARKED_LETTER.fullmatch(line)
    elif extraction == "flexible":
        found = _last(_SAID_LETTER, text)
    else:
        found = None
    return found["letter"].upper() if found else None


def _last(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    return next(iter(reversed([*pattern.finditer(text[-LOOKED_AT:])])), None)


def last_box(text: str) -> str | None:
    """What the last ``\\boxed{...}`` (or ``\\fbox``) holds; None where there is none, or none that is closed.

    ``\\boxed 5`` without braces goes to the next ``$`` or the line's end, as in some of MATH's own solutions.
    """
    start = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if start < 0:
        return None
    command = "\\boxed" if text.startswith("\\boxed", start) else "\\fbox"
    rest = text[start + len(command) : start + len(command) + LONGEST_BOX + 2]
    if not rest.startswith("{"):
        return re.split(r"[$\n]", rest, maxsplit=1)[0].strip() or None if rest.startswith(" ") else None
    depth, escaped = 0, False
    for at, character in enumerate(rest):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return rest[1:at].strip() or None
    return None
