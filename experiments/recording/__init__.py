"""A Sobol design trained in full on every size, recorded for other experiments to read."""
