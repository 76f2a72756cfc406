"""Libraries that only some methods need: imported when such a method is built, and named when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

from jfhpo.core.errors import UsageError


def optional(module: str, extra: str, needed_by: str) -> ModuleType:
    """The imported module.

    Raises:
        UsageError: where it is not installed, with the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise  # the library is there, and one of its own is missing: its message says which
        raise UsageError(f"{needed_by} needs {module}, which is not installed: pip install -e '.[{extra}]'") from error
