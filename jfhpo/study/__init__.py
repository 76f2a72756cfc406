"""The run: a loop that asks, drives trainers under a budget, records, and can be killed at any moment."""
