"""`mmreward-serve` with a real engine, as a process of its own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

DIGITS = Path(__file__).parents[2] / "models" / "digits"
_START_S = 900


class ServiceClient(httpx2.Client):
    """A client that knows the process it talks to."""

    process: subprocess.Popen[bytes]


@contextmanager
def real_service(checkpoint: Path, log: Path, **settings: Any) -> Iterator[ServiceClient]:
    """A client of a service on this checkpoint, when its start is over, ready or not."""
    if not (checkpoint / "model.safetensors").is_file():
        pytest.skip(f"{checkpoint} is not there")
    variables = {
        "MMREWARD_DTYPE": "float32",
        "MMREWARD_PORT": "0",
        "MMREWARD_KV_CACHE_GIB": "0.25",
        **{f"MMREWARD_{name.upper()}": str(value) for name, value in settings.items()},
    }
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("MMREWARD_")}
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "mmreward_service", str(checkpoint)],
            stdout=output,
            stderr=output,
            env={**inherited, **variables},
        )
    try:
        with ServiceClient(base_url=_address(process, log), timeout=600) as client:
            client.process = process
            _wait_for_the_start(process, client, log)
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    pytest.fail("the service did not open its port:\n" + log.read_text()[-3000:])


def _wait_for_the_start(process: subprocess.Popen[bytes], client: httpx2.Client, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        reply = client.get("/ready")
        if reply.status_code == 200 or "the model is" not in reply.text:
            return
        time.sleep(0.2)
    pytest.fail("the service did not start:\n" + log.read_text()[-3000:])
