"""A real Prometheus on a free port of this machine, as a child process, and questions to it.

Standard library only: what asks must not share code with what is asked.
"""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from live.programs import find

_START_TIMEOUT_S = 60.0


class QuestionRefused(Exception):
    """Prometheus did not answer a question; the message is its own."""


@dataclass(frozen=True)
class Prometheus:
    """A running server."""

    url: str

    def series(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: a list of `metric` and `value`."""
        found: list[dict[str, Any]] = self._ask("query", query=expression)["result"]
        return found

    def history(
        self, expression: str, *, seconds: float, step_s: float, end: float | None = None
    ) -> list[dict[str, Any]]:
        """What it was over the last seconds: a list of `metric` and `values`."""
        end = time.time() if end is None else end
        found: list[dict[str, Any]] = self._ask(
            "query_range", query=expression, start=end - seconds, end=end, step=step_s
        )["result"]
        return found

    def exemplars(self, expression: str, *, seconds: float) -> list[dict[str, Any]]:
        """Single requests that stand for a bucket: a list of `seriesLabels` and `exemplars`."""
        end = time.time()
        found: list[dict[str, Any]] = self._ask(
            "query_exemplars", query=expression, start=end - seconds, end=end
        )
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """Pending and firing: a list of `labels`, `state` and more."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return found

    def targets(self) -> dict[str, str]:
        """Health by job: `up`, `down` or `unknown`."""
        return {
            one["labels"]["job"]: one["health"] for one in self._ask("targets")["activeTargets"]
        }

    def _ask(self, what: str, **arguments: Any) -> Any:
        address = f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(arguments)}"
        try:
            with urllib.request.urlopen(address, timeout=30) as reply:
                answer = json.load(reply)
        except urllib.error.HTTPError as error:
            raise QuestionRefused(
                f"{arguments}: {error.read().decode(errors='replace')}"
            ) from error
        return answer["data"]


@contextmanager
def running(
    folder: Path,
    targets: Mapping[str, str],
    *,
    rules: Sequence[Path] = (),
    interval_s: float = 1.0,
) -> Iterator[Prometheus]:
    """Scrape these until the end of the block; then the server is stopped.

    Args:
        folder: for its configuration, data and log.
        targets: host and port by job.
        interval_s: between two scrapes, and between two evaluations of the rules.
    """
    program = find("prometheus")
    interval = f"{round(interval_s * 1000)}ms"
    config = {
        "global": {
            "scrape_interval": interval,
            "scrape_timeout": interval,
            "evaluation_interval": interval,
        },
        "rule_files": [str(path.resolve()) for path in rules],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [address]}]}
            for job, address in targets.items()
        ],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(
            [
                str(program),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={address}",
                "--enable-feature=exemplar-storage",
                "--log.level=warn",
            ],
            stdout=log,
            stderr=log,
        )
        try:
            _wait_until_ready(process, address, folder / "prometheus.log")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://{address}/-/ready", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"Prometheus did not start:\n{log.read_text()[-2000:]}")
