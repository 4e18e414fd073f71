"""From scores to what MM-DPO consumes; the formulas are `mmreward_client.margin`.

They stand in the client because it computes margins of its own from scores that it has already.
"""

from __future__ import annotations

from mmreward_client.margin import Margin, margin, mean_and_stderr, probability, sigmoid

__all__ = ["Margin", "margin", "mean_and_stderr", "probability", "sigmoid"]
