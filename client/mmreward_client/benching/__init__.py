"""How much a running service does, and how fast: the load and the figures of `mmreward bench`."""
