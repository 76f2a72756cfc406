"""The small recording that these tests share, made once for each of their files."""

from tests.replay.recorded import data, folder  # noqa: F401
