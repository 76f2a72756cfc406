"""TRL's GRPOTrainer behind the `Trainer` protocol: the same studies, records and tables as with the miniature one."""
