"""MM-DPO's dynamic beta, the one formula that service, client and trainers share.

    beta(delta) = beta0 * (1 + w * (1 - exp(-k * delta))), clipped to [beta0, (1 + w) * beta0]

MM-RLHF (arXiv 2502.10391), section on MM-DPO; defaults are the paper's (0.1, 0.5, 0.5). Where the
paper and its released code differ, this is the paper: the code has w = 0.1 and no upper clip.
"""

from __future__ import annotations

import math
import sys
from typing import Any, overload


@overload
def dynamic_beta(delta: float, *, beta0: float = ..., w: float = ..., k: float = ...) -> float: ...
@overload
def dynamic_beta(delta: None, *, beta0: float = ..., w: float = ..., k: float = ...) -> None: ...
@overload
def dynamic_beta(delta: Any, *, beta0: float = ..., w: float = ..., k: float = ...) -> Any: ...


def dynamic_beta(delta: Any, *, beta0: float = 0.1, w: float = 0.5, k: float = 0.5) -> Any:
    """Beta of each pair from its margin.

    Args:
        delta: score(chosen) - score(rejected): a float, None (passed through: the pair has no
            margin), a list of these, a numpy array or a torch tensor (same shape, dtype and
            device come back; integers become the default float).
        beta0: beta at a margin of zero or less, > 0.
        w: largest relative increase, >= 0.
        k: how fast it saturates, >= 0.

    Raises:
        ValueError: NaN or infinite delta, or constants outside their range.
    """
    for name, value in (("beta0", beta0), ("w", w), ("k", k)):
        if not math.isfinite(value) or value < 0 or (name == "beta0" and value == 0):
            raise ValueError(f"{name} must be finite and {'> 0' if name == 'beta0' else '>= 0'}")
    if delta is None:
        return None
    if isinstance(delta, list | tuple):
        return [dynamic_beta(one, beta0=beta0, w=w, k=k) for one in delta]
    # Arrays can only come from a library that is loaded already: neither is imported for it.
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(delta, torch.Tensor):
        return _torch_beta(torch, delta, beta0, w, k)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(delta, numpy.ndarray):
        return _numpy_beta(numpy, delta, beta0, w, k)
    value = float(delta)
    if not math.isfinite(value):
        raise ValueError(f"delta must be finite, got {value}")
    # The formula is below beta0 for every negative delta, where exp() could also overflow.
    return beta0 * (1.0 - w * math.expm1(-k * max(value, 0.0)))


def _numpy_beta(numpy: Any, delta: Any, beta0: float, w: float, k: float) -> Any:
    if not numpy.issubdtype(delta.dtype, numpy.floating):
        delta = delta.astype(numpy.float64)
    if not numpy.isfinite(delta).all():
        raise ValueError("delta must be finite everywhere")
    return beta0 * (1.0 - w * numpy.expm1(-k * numpy.maximum(delta, 0.0)))


def _torch_beta(torch: Any, delta: Any, beta0: float, w: float, k: float) -> Any:
    if not delta.is_floating_point():
        delta = delta.to(torch.get_default_dtype())
    if not bool(torch.isfinite(delta).all()):
        raise ValueError("delta must be finite everywhere")
    return beta0 * (1.0 - w * torch.expm1(-k * delta.clamp(min=0.0)))
