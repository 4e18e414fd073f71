"""A tiny model behind vLLM's own OpenAI-compatible server, as a process of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from safetensors.torch import load_file, save_file
from tiny_models import build_tiny_checkpoint

_START_S = 900
_CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n"
    "{% if message.content is string %}{{ message.content }}{% else %}"
    "{% for part in message.content %}{% if part.type == 'text' %}{{ part.text }}"
    "{% else %}<|vision_start|><|image_pad|><|vision_end|>{% endif %}{% endfor %}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def plain_checkpoint(folder: Path) -> None:
    """A tiny Qwen2.5-VL with a chat template, without the reward head that stock vLLM refuses."""
    build_tiny_checkpoint(folder, "qwen2_5_vl")
    weights = folder / "model.safetensors"
    kept = {n: t for n, t in load_file(weights).items() if not n.startswith("reward_head.")}
    save_file(kept, weights, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    del config["reward"]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "chat_template.jinja").write_text(_CHAT_TEMPLATE)


@contextmanager
def vllm_serve(folder: Path, log: Path) -> Iterator[str]:
    """The address of the API, when it answers.

    What `vllm serve` runs is started as a module: the command itself looks up the version of a
    distribution named `vllm`, which the CPU build is not, and stops.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = {
        "--model": str(folder),
        "--served-model-name": "tiny",
        "--host": "127.0.0.1",
        "--port": str(port),
        "--dtype": "float32",
        "--max-model-len": "2048",
        "--max-num-seqs": "8",
        "--limit-mm-per-prompt": '{"image": 2}',
    }
    switches = {
        "HF_HUB_OFFLINE": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_CPU_KVCACHE_SPACE": "1",
    }
    with log.open("w") as output:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager"),
                *(part for option in options.items() for part in option),
            ],
            stdout=output,
            stderr=output,
            env={**os.environ, **switches},
        )
    try:
        _wait(process, f"http://127.0.0.1:{port}/health", log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def counter(address: str, name: str) -> float:
    """A counter of vLLM's own metrics, summed over its labels."""
    text = httpx2.get(f"{address}/metrics").text
    values = re.findall(rf"^{re.escape(name)}(?:{{[^}}]*}})? (\S+)$", text, re.MULTILINE)
    assert values, f"{name} is not exported"
    return sum(map(float, values))


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx2.get(address).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.5)
    pytest.fail("vLLM did not start:\n" + log.read_text()[-3000:])
