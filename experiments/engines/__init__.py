"""The same small study on the miniature trainer, TRL and verl: do they learn alike, and rank alike?"""
