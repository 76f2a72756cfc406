"""Recorded learning curves of GRPO on miniature models, to be looked up and replayed: ``load("last_digit")``."""

from jfhpo.replay.dataset import DataSet, load, names

__all__ = ["DataSet", "load", "names"]
