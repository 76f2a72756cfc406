"""What runs a trial. One interface (`jfhpo.core.trainer.Trainer`), one module or package per engine."""
