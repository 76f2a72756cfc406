"""verl's GRPO (`verl.trainer.main_ppo`, 0.9.1): which of its keys are read, and what a configuration is in them."""
