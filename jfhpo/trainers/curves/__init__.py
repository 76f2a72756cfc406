"""Learning curves by formula with a known optimum and a biased proxy: a check that a method does what it claims."""
