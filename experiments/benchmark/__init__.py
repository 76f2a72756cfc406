"""The benchmark: every method there is, several problems and targets, enough seeds to tell them apart."""
