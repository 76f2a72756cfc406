"""Instructions and the responses to learn: a generated set for the miniature family, and the published ones."""
