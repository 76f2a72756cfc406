"""Which of the searched hyperparameters matter, on the proxy and on the target."""
