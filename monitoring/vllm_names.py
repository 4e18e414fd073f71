"""The names of vLLM's metrics, read from its source without importing it.

`vllm_metrics.txt` is what this writes for the release that the project pins. A dashboard that asks
for a name that is not in it asks for nothing: names have changed between releases before.

    .venv/bin/python monitoring/vllm_names.py       # after another release of vLLM was pinned
"""

from __future__ import annotations

import importlib.util
import re
from importlib.metadata import packages_distributions, version
from pathlib import Path

LIST = Path(__file__).resolve().parent / "vllm_metrics.txt"
_DEFINITION = re.compile(r"_(gauge|counter|histogram)_cls\(\s*name=\"(vllm:\w+)\"")
_SUFFIXES = {"gauge": ("",), "counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


def defined_names() -> list[str]:
    """Names of series, as the page shows them, sorted.

    Raises:
        LookupError: no vLLM is installed.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise LookupError("no vLLM is installed")
    source = Path(spec.origin).parent / "v1" / "metrics" / "loggers.py"
    found = _DEFINITION.findall(source.read_text(encoding="utf-8"))
    return sorted(
        name if name.endswith(suffix) else name + suffix
        for kind, name in found
        for suffix in _SUFFIXES[kind]
    )


def installed_release() -> str:
    """The release of whichever distribution brings the package `vllm`."""
    return version(packages_distributions()["vllm"][0])


def listed() -> tuple[str, list[str]]:
    """The release that the checked-in list is of, and its names."""
    first, *names = LIST.read_text(encoding="utf-8").splitlines()
    return first.split()[-1], names


if __name__ == "__main__":
    LIST.write_text("\n".join([f"# vllm {installed_release()}", *defined_names(), ""]))
