"""The tests. A package, since some library installs one of this name, which a mere folder would lose to."""
