"""The generator's folder is on the path, as Python puts it for the scripts in it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

MONITORING = Path(__file__).resolve().parents[2] / "monitoring"
sys.path.append(str(MONITORING))
sys.path.append(str(Path(__file__).parent))

DCGM = {f"DCGM_FI_DEV_{name}" for name in ("GPU_UTIL", "FB_USED", "POWER_USAGE", "XID_ERRORS")}
"""Of NVIDIA's exporter, which is no part of this project; default-counters.csv of dcgm-exporter."""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def monitoring() -> Path:
    return MONITORING


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """Path of one of Prometheus's programs; the test is skipped, with the reason, without it."""
    from live.programs import Absent, find

    def path(name: str) -> Path:
        try:
            return find(name)
        except Absent as error:
            pytest.skip(str(error))

    return path


@pytest.fixture(scope="session")
def promtool(tool: Callable[[str], Path]) -> Run:
    """Runs promtool; the answer holds return code and both outputs."""
    program = tool("promtool")

    def run(*arguments: str | Path, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        command = [str(program), *map(str, arguments)]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def root() -> Path:
    return MONITORING.parent


@pytest.fixture(scope="session")
def metric_names(root: Path) -> set[str]:
    """Names of all series that a question may ask for, each from where it is defined."""
    import yaml
    from vllm_names import listed

    recorded = {
        rule["record"]
        for group in yaml.safe_load((MONITORING / "rules" / "recording.yml").read_text())["groups"]
        for rule in group["rules"]
    }
    return _of_the_service() | _of_the_client(root) | recorded | set(listed()[1]) | DCGM


def _of_the_service() -> set[str]:
    """Of a registry with a model and a route, so that every family with labels has a series."""
    from mmreward_service.metrics import Metrics
    from prometheus_client import REGISTRY

    metrics = Metrics(1)
    metrics.create_model("m", ["critique", "judge"], {"fingerprint": "f"})
    metrics.traffic.create_routes(["/v1/score"])
    families = [*metrics.registry.collect(), *REGISTRY.collect()]
    names = {sample.name for family in families for sample in family.samples}
    return names | {f"{family.name}_total" for family in families if family.type == "counter"}


def _of_the_client(root: Path) -> set[str]:
    """As docs/metrics.md has them, which a test of the client compares with its code."""
    page = (root / "docs" / "metrics.md").read_text().split("\n## The client\n")[1]
    rows = re.findall(r"^\| `(mmreward_client_\w+)` \| (\w+) \|", page, re.MULTILINE)
    ends = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + end for name, kind in rows for end in ends.get(kind, ("",))}
