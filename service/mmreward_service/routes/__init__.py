"""The routes, by who may call them and why."""
