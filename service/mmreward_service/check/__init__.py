"""`mmreward-serve --check`: what would go wrong with a checkpoint, before a GPU is paid for.

Nothing here starts an engine or imports vLLM. torch is imported by `parity` alone, so a machine
without it can check everything but the scores.
"""
