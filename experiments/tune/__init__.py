"""``jfhpo tune``: a search over a user's own TRL or verl job, described in one file."""
