"""A real Prometheus on this machine, without Docker: programs, processes, questions, load."""
