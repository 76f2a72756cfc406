"""GRPO at laptop size: a Qwen2-architecture decoder, its family of base models, and the trainer itself."""
