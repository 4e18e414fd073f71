"""The mmreward service: critiques, scores and margins from one pass of one vLLM engine."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("mmreward")
except PackageNotFoundError:  # a source tree on the path, not installed
    __version__ = "0+unknown"
