"""How the tests come by a real Prometheus, and what is said where they cannot."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
import time
from pathlib import Path
from types import ModuleType

import pytest
from live import programs


@pytest.fixture(scope="module")
def fetching(monitoring: Path) -> ModuleType:
    path = monitoring.parent / "scripts" / "prometheus_programs.py"
    spec = importlib.util.spec_from_file_location("prometheus_programs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["prometheus_programs"] = module
    spec.loader.exec_module(module)
    return module


def test_without_apt_get_the_set_up_goes_on(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says what is missing, and the skipped tests say the same."""
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "prometheus"
    assert "apt-get and dpkg-deb not found" in fetching.provide(folder)
    monkeypatch.setattr(programs, "FOLDER", folder)
    monkeypatch.setattr(programs, "REASON", folder / fetching.REASON)
    with pytest.raises(programs.Absent, match=r"promtool is not .* apt-get and dpkg-deb not found"):
        programs.find("promtool")


def test_a_refusal_is_the_reason(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt-get's own last line, and nothing half unpacked stays."""
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text("#!/bin/sh\necho 'E: no such package' >&2\nexit 100\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = tmp_path / "prometheus"
    assert "apt-get: E: no such package" in fetching.provide(folder)
    assert [path.name for path in folder.iterdir()] == [fetching.REASON]
    (tmp_path / "apt-get").write_text("#!/bin/sh\n")
    assert f"no such package (to try again: rm {folder}" in fetching.provide(folder)
    (folder / fetching.REASON).unlink()
    assert "the packages hold no prometheus" in fetching.provide(folder)


def test_a_relative_folder_is_where_the_caller_stands(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `make` gives it; apt-get and dpkg-deb run in a folder of their own."""
    (tmp_path / "apt-get").write_text("#!/bin/sh\n: > a.deb\n")
    unpack = '[ -f "$2" ] || exit 2\nmkdir -p "$3/usr/bin"\n: > "$3/usr/bin/never-installed"\n'
    (tmp_path / "dpkg-deb").write_text("#!/bin/sh\n" + unpack)
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(fetching, "PROGRAMS", ("never-installed",))
    monkeypatch.chdir(tmp_path)
    assert "unpacked" in fetching.provide(Path("prometheus"))
    assert (tmp_path / "prometheus" / "usr" / "bin" / "never-installed").is_file()


def test_a_source_that_never_answers_is_given_up(
    fetching: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One patience for all steps together."""
    for name in ("apt-get", "dpkg-deb"):
        (tmp_path / name).write_text(f"#!/bin/sh\nexec {shutil.which('sleep')} 30\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.5)
    began = time.monotonic()
    assert "apt-get: TimeoutExpired" in fetching.provide(tmp_path / "prometheus")
    assert time.monotonic() - began < 20


def test_who_only_scores_downloads_no_prometheus(root: Path) -> None:
    """Neither the set-up nor `make demo` asks for it; the tests and `make monitoring` do."""
    assert "prometheus" not in (root / "scripts" / "environment.py").read_text()
    rules = re.findall(r"^(\w+):([^#\n=]*)", (root / "Makefile").read_text(), re.MULTILINE)
    asking = {target for target, needs in rules if "prometheus" in needs.split()}
    assert asking == {"test", "soak", "monitoring"}


def test_what_is_there_is_kept(fetching: ModuleType, tmp_path: Path) -> None:
    """A second set-up downloads nothing, and the programs are found where the first put them."""
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    for name in fetching.PROGRAMS:
        (tmp_path / "usr" / "bin" / name).touch()
    assert "kept" in fetching.provide(tmp_path)
    assert set(fetching.PROGRAMS) >= {"prometheus", "promtool", "amtool"}
