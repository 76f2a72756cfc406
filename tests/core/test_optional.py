"""A library that is missing is named with the command that installs it."""

from __future__ import annotations

import re
import sys

import pytest

from jfhpo.core.errors import UsageError
from jfhpo.core.optional import optional


def test_an_installed_library_is_returned():
    assert optional("json.decoder", "any", "this test") is sys.modules["json.decoder"]


@pytest.mark.parametrize("module", ["not_there_at_all", "not_there_at_all.inner"])
def test_a_missing_one_is_named_with_its_extra(module):
    with pytest.raises(UsageError, match=re.escape(f"method=x needs {module}, which")) as refused:
        optional(module, "some", "method=x")
    assert str(refused.value).endswith("pip install -e '.[some]'")


def test_a_library_that_lacks_one_of_its_own_says_so_itself(tmp_path, monkeypatch):
    (tmp_path / "there_for_this_test.py").write_text("import not_there_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="not_there_at_all"):
        optional("there_for_this_test", "some", "method=x")
