"""How much sooner a study ends with more workers, and what it costs in accuracy: on recorded curves."""
