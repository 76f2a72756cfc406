"""Statistics that can tell methods apart: pure functions of arrays and tables; what they draw comes from a fixed seed.

`intervals` says how sure one number is, `comparisons` which of several methods differ.
"""
