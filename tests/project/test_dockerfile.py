"""The Dockerfile, as far as it can be held to account without a Docker daemon."""

from __future__ import annotations

import ast
import json
import os
import shlex
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTRUCTIONS = {
    "FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT",
}  # fmt: skip


@dataclass(frozen=True)
class Instruction:
    name: str
    value: str


def read_targets(path: Path) -> dict[str, list[Instruction]]:
    """Instructions by target, continued lines joined, comments dropped."""
    lines = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    targets: dict[str, list[Instruction]] = {}
    for line in filter(None, (line.strip() for line in joined.splitlines())):
        name, value = line.split(maxsplit=1)
        if name == "FROM":
            current = targets.setdefault(value.split(" AS ")[1], [])
        current.append(Instruction(name, value))
    return targets


@pytest.fixture(scope="module")
def targets(root: Path) -> dict[str, list[Instruction]]:
    return read_targets(root / "Dockerfile")


@pytest.fixture(params=["cuda", "cpu"])
def target(
    request: pytest.FixtureRequest, targets: dict[str, list[Instruction]]
) -> list[Instruction]:
    return targets[request.param]


def values(target: list[Instruction], name: str) -> list[str]:
    return [instruction.value for instruction in target if instruction.name == name]


def test_there_are_two_targets_with_pinned_bases(targets: dict[str, list[Instruction]]) -> None:
    """Both base images are named by version, the CUDA one by that of the engine."""
    assert values(targets["cuda"], "FROM") == ["vllm/vllm-openai:v0.32.0 AS cuda"]
    assert values(targets["cpu"], "FROM") == ["python:3.11-slim-bookworm AS cpu"]


def test_instructions_are_known(target: list[Instruction]) -> None:
    assert {instruction.name for instruction in target} <= INSTRUCTIONS


def test_copied_paths_exist(root: Path, target: list[Instruction]) -> None:
    """Every source of every COPY is in the project and not ignored by .dockerignore."""
    kept = {
        line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copies = values(target, "COPY")
    assert copies
    for copy in copies:
        for source in shlex.split(copy)[:-1]:
            assert (root / source).exists(), source
            assert source in kept, f"{source} is kept out by .dockerignore"


def test_no_weights_inside(root: Path, target: list[Instruction]) -> None:
    """No image copies a checkpoint; the folder is mounted where the service looks for it."""
    assert not any("models" in copy for copy in values(target, "COPY"))
    assert any("MMREWARD_CHECKPOINT=/models" in env for env in values(target, "ENV"))


def test_the_process_is_not_root(target: list[Instruction]) -> None:
    """The last USER is the one that a RUN created, before the entry point."""
    users = values(target, "USER")
    assert users == ["reward"]
    assert any("useradd" in run and run.endswith("reward") for run in values(target, "RUN"))


def test_port_is_exposed_and_the_command_is_ours(target: list[Instruction]) -> None:
    assert values(target, "EXPOSE") == ["8000"]
    assert json.loads(values(target, "ENTRYPOINT")[0]) == ["mmreward-serve"]


def test_health_check_is_plain_python(target: list[Instruction]) -> None:
    """The health check needs nothing but the interpreter, and its code compiles."""
    command = json.loads(values(target, "HEALTHCHECK")[0].split(" CMD ", 1)[1])
    assert command[0] in {"python", "python3"}
    ast.parse(command[2])
    assert "/health" in command[2]


def test_all_addresses_only_with_keys(
    target: list[Instruction], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the image's own variables the service refuses to start until keys are given."""
    from mmreward_service.settings import SettingsRefused, load_settings

    for name in [name for name in os.environ if name.startswith("MMREWARD_")]:
        monkeypatch.delenv(name)
    for env in values(target, "ENV"):
        for assignment in shlex.split(env):
            name, value = assignment.split("=", 1)
            if name.startswith("MMREWARD_"):
                monkeypatch.setenv(name, value)
    with pytest.raises(SettingsRefused, match="api_keys"):
        load_settings()
    monkeypatch.setenv("MMREWARD_API_KEYS", "a-long-secret")
    assert load_settings().host == "0.0.0.0"


def installation(targets: dict[str, list[Instruction]]) -> list[str]:
    (command,) = [run for run in values(targets["cpu"], "RUN") if "environment.py" in run]
    return shlex.split(command)


@pytest.mark.slow
def test_cpu_installation_runs(
    root: Path, tmp_path: Path, targets: dict[str, list[Instruction]]
) -> None:
    """The cpu target's installation works in a clean environment and brings the service.

    Packages that this environment already holds are not downloaded again: the new one sees them
    through a path file. mmreward itself is built and installed as the image would.
    """
    folder = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = subprocess.run(
        [str(python), "-c", ask], capture_output=True, text=True, check=True
    ).stdout.strip()
    (Path(packages) / "seen.pth").write_text(sysconfig.get_path("purelib") + "\n")
    check_installation(root, folder, targets)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_cpu_installation_runs_from_nothing(
    root: Path, tmp_path: Path, targets: dict[str, list[Instruction]]
) -> None:
    """The same with every package downloaded, as in the image: minutes and gigabytes."""
    check_installation(root, tmp_path / "environment", targets)


def check_installation(root: Path, folder: Path, targets: dict[str, list[Instruction]]) -> None:
    source = folder.parent / "source"
    source.mkdir()
    for copy in values(targets["cpu"], "COPY"):
        for name in shlex.split(copy)[:-1]:
            subprocess.run(["cp", "-r", str(root / name), str(source)], check=True)
    command = [
        {"python": sys.executable, "/opt/mmreward": str(folder)}.get(word, word)
        for word in installation(targets)
    ]
    answer = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    served = subprocess.run(
        [str(folder / "bin" / "mmreward-serve"), "--version"],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert served.returncode == 0, served.stderr
    located = "import mmreward_service, vllm, torchvision; print(mmreward_service.__file__)"
    where = subprocess.run(
        [str(folder / "bin" / "python"), "-c", located],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert where.returncode == 0, where.stderr
    assert str(folder) in where.stdout, "the copy that was installed, not the working tree"
