"""LoRA instruction-tuning: which method finds the lowest validation loss, and does a lower loss mean better answers?"""
