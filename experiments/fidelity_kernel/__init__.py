"""Which kernel over training steps and model size foretells a full run on the target best, and with what error?"""
