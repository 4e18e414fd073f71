"""What training and serving share: one format, one head, one prompt, one formula.

Nothing here knows of HTTP or vLLM; torch is imported by `head`, `slot` and `checkpoint` alone.
"""
