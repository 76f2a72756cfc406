"""JF-HPO: joint-fidelity hyperparameter optimization for LLM reinforcement learning.

The rooms, from the ground up (``docs/architecture.md``): `core` holds the nouns and protocols, `tasks` the
prompts and answers, `trainers` what runs a trial, `dynamics` what judges its curve, `method` the paper's
optimizer, `study` the loop that ties them together under a budget.
"""

__version__ = "0.1.0"
