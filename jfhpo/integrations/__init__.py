"""Parts of this repository inside other people's training loops."""
