"""JF-HPO itself: the surrogate, the acquisition function and the optimizer they make."""
