"""`mmreward-serve`: refusals with one line and exit code 2, and a service that starts and stops."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

COMMAND = [sys.executable, "-m", "mmreward_service"]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MMREWARD_")}
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        env={**environment, **variables},
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "checkpoint is required"),
        (["--engine", "fake", "--host", "0.0.0.0"], "api_keys"),
        (["--engine", "other"], "engine"),
        (["--config", "nowhere.toml"], "does not exist"),
    ],
)
def test_wrong_settings_are_one_line_and_exit_code_2(arguments: list[str], word: str) -> None:
    """No traceback: the line names what has to be changed."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("mmreward-serve: ")
    assert word in done.stderr


@pytest.mark.slow
def test_a_folder_that_is_no_reward_model_is_refused(tmp_path: Path) -> None:
    """Before the engine is started."""
    done = run(str(tmp_path))
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith("mmreward-serve: ")
    assert "config.json does not exist" in last


def test_help_loads_nothing_heavy() -> None:
    """--help is quick because it imports typer and little else."""
    code = (
        "import sys, mmreward_service.__main__; "
        "heavy = {'torch', 'vllm', 'fastapi', 'uvicorn', 'PIL', 'transformers', 'pydantic'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    assert "--checkpoint" not in run("--help").stdout


def test_the_service_starts_answers_and_stops(tmp_path: Path) -> None:
    """On a free port, with a settings file; SIGTERM ends it in good order."""
    file = tmp_path / "mmreward.toml"
    file.write_text('engine = "fake"\nport = 0\nserved_name = "from-the-file"\n')
    with subprocess.Popen(
        [*COMMAND, "--config", str(file)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        lines = []
        for text in process.stderr:
            lines.append(text)
            if found := re.search(r"running on (http://127\.0\.0\.1:\d+)", text):
                url = found[1]
                break
        else:
            pytest.fail("".join(lines))
        transport = httpx2.HTTPTransport(retries=2)
        with httpx2.Client(base_url=url, transport=transport) as client:
            body = {"items": [{"prompt": "p", "response": "r"}]}
            while (reply := client.post("/v1/score", json=body)).status_code == 503:
                pass
            assert reply.json()["model"] == "from-the-file"
            assert "process_cpu_seconds_total" in client.get("/metrics").text
        process.send_signal(signal.SIGTERM)
        rest = process.stderr.read()
        assert process.wait(30) == 0
        assert "shutdown complete" in rest
        assert "Traceback" not in "".join(lines) + rest
