"""The vLLM engine: critique and score in one pass. The only package that imports vllm.

Importing this package loads nothing heavy. `engine` holds `VllmEngine`, `plugin` what vLLM itself
calls; docs/engine.md tells how it works.
"""
