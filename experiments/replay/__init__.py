"""Every method on recorded learning curves: a hundred seeds in minutes, without training."""
