"""How often each stopping rule would have been right: replayed over full runs that nothing stopped."""
