"""GRPO against GRPOVI on graded rewards: one configuration, the same prompts, only the advantages differ."""
