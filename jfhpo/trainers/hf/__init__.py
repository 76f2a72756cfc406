"""What the trainers on Hugging Face's `Trainer` share: stepping it, its checkpoints, sampling from its model."""
