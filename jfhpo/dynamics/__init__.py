"""Judging a learning curve while it grows."""
