"""Many trials of one model size in one batched program: the numbers of `MiniTrainer`, one by one, up to rounding."""
