"""The main experiment: every method on the same problem, budget and seeds (the paper's Table 2 and efficiency)."""
