"""TRL's SFTTrainer with PEFT's LoRA behind the `Trainer` protocol: instruction-tuning, judged by validation loss."""
