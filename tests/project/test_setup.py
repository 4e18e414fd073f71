"""The set-up command: what it asks of a machine, and when it has nothing to do."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest


@pytest.fixture(scope="module")
def environment(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("environment", root / "scripts/environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["environment"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tree(root: Path, tmp_path: Path, environment: ModuleType) -> Path:
    """A working tree with the files that the stamp watches and a `.venv` that looks whole."""
    for name in environment.STAMPED_FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(root / name, tmp_path / name)
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    return tmp_path


def run_setup(tree: Path, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["/bin/sh", str(tree / "scripts" / "setup"), *arguments],
        env={"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def tools(folder: Path, *names: str) -> str:
    """A PATH with these programs and no other."""
    folder.mkdir(exist_ok=True)
    for name in names:
        program = sys.executable if name == "python3" else shutil.which(name)
        assert program is not None, name
        # A wrapper, not a link: a linked interpreter would take the folder for its home.
        (folder / name).write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        (folder / name).chmod(0o755)
    return str(folder)


def test_nothing_to_do(tree: Path, tmp_path: Path, environment: ModuleType) -> None:
    """With a matching stamp the command returns 0, says nothing and starts no pip."""
    environment.Environment(tree).write_stamp("cpu")
    answer = run_setup(tree, tools(tmp_path / "bin", "python3", "dirname"))
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_a_changed_file_is_noticed(tree: Path, environment: ModuleType) -> None:
    """Each watched file, by one byte, makes the environment unready."""
    venv = environment.Environment(tree)
    venv.write_stamp("cpu")
    assert venv.is_ready("cpu")
    for name in environment.STAMPED_FILES:
        original = (tree / name).read_bytes()
        (tree / name).write_bytes(original + b"\n")
        assert not venv.is_ready("cpu"), name
        (tree / name).write_bytes(original)
    assert venv.is_ready("cpu")


def test_other_flavour_place_and_python_are_noticed(
    tree: Path, tmp_path_factory: pytest.TempPathFactory, environment: ModuleType
) -> None:
    """A stamp vouches for one flavour at one place with one interpreter."""
    venv = environment.Environment(tree)
    venv.write_stamp("cpu")
    assert not venv.is_ready("gpu")
    moved = tmp_path_factory.mktemp("moved") / "tree"
    shutil.copytree(tree, moved, symlinks=True)
    assert not environment.Environment(moved).is_ready("cpu")
    venv.python.unlink()
    venv.python.symlink_to("/bin/sh")
    assert not venv.is_ready("cpu")


@pytest.mark.parametrize("content", ["", "{", "[]", '"cpu"', '{"flavour": "cpu"}'])
def test_a_broken_stamp_is_no_stamp(tree: Path, environment: ModuleType, content: str) -> None:
    """Whatever an interruption left behind leads to a set-up, never to a crash."""
    venv = environment.Environment(tree)
    venv.stamp_file.write_text(content)
    assert not venv.is_ready("cpu")
    assert environment.choose_flavour("cpu", venv.stamp()) == "cpu"


def test_stamp_is_the_last_step(
    tree: Path, environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A set-up in which pip fails exits with 1 and leaves the environment unready."""
    monkeypatch.setattr(environment, "ROOT", tree)
    monkeypatch.setattr(environment.Environment, "create", lambda self, flavour: "kept")
    venv = environment.Environment(tree)
    venv.python.unlink()
    venv.python.write_text("#!/bin/sh\necho no such wheel\nexit 1\n")
    venv.python.chmod(0o755)
    assert environment.main(["--flavour", "cpu"]) == 1
    assert "no such wheel" in venv.log_file.read_text()
    assert not venv.is_ready("cpu")


def test_an_old_environment_of_the_other_flavour_is_not_kept(
    tree: Path, environment: ModuleType
) -> None:
    """Both builds of vLLM are one import package: changing the flavour starts anew."""
    venv = environment.Environment(tree)
    venv.stamp_file.write_text(json.dumps({"flavour": "gpu", "root": str(tree)}))
    (venv.folder / "remains").touch()
    assert venv.create("cpu") == "made anew"
    assert not (venv.folder / "remains").exists()
    assert venv.runs("import pip")


def test_an_environment_without_pip_is_made_anew(tree: Path, environment: ModuleType) -> None:
    """An interruption while the environment was being made is repaired."""
    venv = environment.Environment(tree)
    venv.python.unlink()
    venv.python.symlink_to("/bin/false")
    assert venv.create("cpu") == "made anew"
    assert venv.create("cpu") == "kept"


def test_no_python(tree: Path, tmp_path: Path) -> None:
    """A machine without Python gets a plain answer from the shell half."""
    answer = run_setup(tree, tools(tmp_path / "bin", "dirname"))
    assert answer.returncode == 1
    assert "no Python of 3.11 or newer" in answer.stderr
    assert "apt-get install python3" in answer.stderr


def test_old_python(tree: Path, tmp_path: Path) -> None:
    """A Python that is too old is passed over, and the next candidate is tried."""
    folder = tmp_path / "bin"
    path = tools(folder, "dirname")
    (folder / "python3").write_text("#!/bin/sh\nexit 1\n")
    (folder / "python3").chmod(0o755)
    assert run_setup(tree, path).returncode == 1
    shutil.copy(tools(tmp_path / "other", "python3") + "/python3", folder / "python3.12")
    assert run_setup(tree, path, "--help").returncode == 0


def test_missing_tools_are_named(tree: Path, tmp_path: Path) -> None:
    """Without git and make the command names both, and the line that installs them."""
    path = tools(tmp_path / "bin", "python3", "dirname")
    answer = run_setup(tree, path, "--flavour", "cpu")
    assert answer.returncode == 1
    assert "git" in answer.stderr
    assert "sudo apt-get install git make" in answer.stderr


def test_missing_venv_and_numa_are_named(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bare Debian lacks ensurepip and libnuma: the packages are python3.x-venv and libnuma1."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        environment.importlib.util,
        "find_spec",
        lambda name: None if name == "ensurepip" else find_spec(name),
    )

    def no_library(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(environment.ctypes, "CDLL", no_library)
    missing = environment.missing_from_system("cpu", runtime=True)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert [entry.debian_package for entry in missing] == [f"python{version}-venv", "libnuma1"]
    assert f"apt-get install python{version}-venv libnuma1" in environment.explain_missing(missing)


def test_flavour_follows_the_driver(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`gpu` where nvidia-smi lists a device; a driver without one, or none, is `cpu`."""
    driver = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    for body, flavour in (("echo 'GPU 0: H200'", "gpu"), ("echo failed; exit 9", "cpu")):
        driver.write_text(f"#!/bin/sh\n{body}\n")
        driver.chmod(0o755)
        assert environment.choose_flavour("auto", {}) == flavour
    assert environment.choose_flavour("auto", {"flavour": "gpu"}) == "gpu"
    assert environment.choose_flavour("cpu", {"flavour": "gpu"}) == "cpu"


def test_groups_are_flattened(environment: ModuleType, pyproject: dict[str, Any]) -> None:
    """Old pip cannot read dependency groups: the list it gets holds plain requirements."""
    listed = environment.requirements_of_group(pyproject, "dev")
    assert all(isinstance(entry, str) for entry in listed)
    assert {entry.split(">")[0] for entry in listed} >= {"pytest", "ruff", "mypy", "hypothesis"}


def test_only_torch_comes_from_the_torch_index(
    environment: ModuleType, pyproject: dict[str, Any]
) -> None:
    """torch and torchvision, exactly pinned, and nothing else."""
    wanted = environment.torch_requirements(pyproject)
    assert {entry.split("==")[0] for entry in wanted} == {"torch", "torchvision"}
    assert all("==" in entry for entry in wanted)
