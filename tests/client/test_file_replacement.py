"""Files that are replaced in one move."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from mmreward_client.file_replacement import replace_file, replacing


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "config.json"
    path.write_text("old")
    return path


def test_the_new_content_is_there_and_nothing_else(path):
    """Text is UTF-8 and bytes are as they are; a file that was not there is made."""
    replace_file(path, "größer\n")
    assert path.read_bytes() == "größer\n".encode()
    replace_file(path.with_name("new"), b"\x00\r\n")
    assert path.with_name("new").read_bytes() == b"\x00\r\n"
    assert sorted(os.listdir(path.parent)) == ["config.json", "new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_the_old_content_stays_until_the_end(path, error):
    """While it is written, and after writing has failed or was interrupted."""

    def write():
        with replacing(path) as file:
            file.write(b"half of the new")
            file.flush()
            assert path.read_text() == "old"
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["config.json"]


def test_permissions_are_kept(path):
    """A file that others could not read is not opened to them by being replaced."""
    path.chmod(0o600)
    replace_file(path, "new")
    assert path.stat().st_mode & 0o777 == 0o600


def test_content_is_on_the_disk_before_it_has_the_name(path, monkeypatch):
    """The order of things: written, brought to the disk, renamed."""
    done = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (done.append("fsync"), fsync(number)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("replace"), replace(*names)))
    replace_file(path, "new")
    assert done == ["fsync", "replace"]


def test_a_process_killed_while_writing(path):
    """Nothing is lost: the old content is what is there."""
    code = (
        "import os, sys; from pathlib import Path;"
        "from mmreward_client.file_replacement import replacing\n"
        "with replacing(Path(sys.argv[1])) as file:\n"
        "    file.write(b'new'); file.flush(); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], timeout=120, check=False)
    assert done.returncode == -9
    assert path.read_text() == "old"
    replace_file(path, "new")
    assert os.listdir(path.parent) == ["config.json"]


def test_a_folder_that_is_not_there(tmp_path):
    """An OSError that names the place."""
    with pytest.raises(OSError, match="missing"):
        replace_file(tmp_path / "missing" / "file", "x")
