"""Training rows without numpy: what `mmreward-train` writes is found, nothing else is."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client import InvalidInput
from mmreward_client.data.trained_rows import TrainedRows, fingerprint_prefix
from mmreward_trainer.training_rows import write_training_rows


def sha(number):
    return hashlib.sha256(str(number).encode()).hexdigest()


@given(st.sets(st.integers(0, 500), max_size=80))
def test_found_is_what_was_written(tmp_path_factory, numbers):
    """Of the rows that were written every one, of the others none; also of no rows at all."""
    folder = tmp_path_factory.mktemp("rows")
    write_training_rows(folder, [sha(number) for number in numbers])
    rows = TrainedRows(folder / "training_rows.u64")
    assert len(rows) == len(numbers)
    assert {number for number in range(501) if sha(number) in rows} == numbers


def test_folder_of_a_checkpoint(tmp_path):
    """config.json names the file and its SHA-256; another file under the name is refused."""
    config = tmp_path / "config.json"
    listed = write_training_rows(tmp_path, [sha(1)])
    config.write_text(json.dumps({"reward": {"training_rows": listed}}))
    assert sha(1) in TrainedRows(tmp_path)
    write_training_rows(tmp_path, [sha(2)])
    with pytest.raises(InvalidInput, match=r"config\.json says"):
        TrainedRows(tmp_path)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "No such file"),
        ("{oops", "no reward object"),
        ("{}", "no reward object"),
        ('{"reward": {}}', "lists no fingerprints"),
        ('{"reward": {"training_rows": {"fingerprints": "../x"}}}', "lists no fingerprints"),
    ],
)
def test_folders_that_tell_nothing(tmp_path, config, message):
    """Each with its reason; a name that leaves the folder is none."""
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(InvalidInput, match=message):
        TrainedRows(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"1234567", "multiple of 8"), (bytes(7) + b"\2" + bytes(7) + b"\1", "not sorted")],
)
def test_damaged_files(tmp_path, content, message):
    """A file that cannot be one of training rows is not searched."""
    path = tmp_path / "rows.u64"
    path.write_bytes(content)
    with pytest.raises(InvalidInput, match=message):
        TrainedRows(path)


@pytest.mark.parametrize("text", ["", "abc", sha(1).upper(), sha(1) + "0"])
def test_no_fingerprint(text):
    """Only a SHA-256 stands for a row."""
    with pytest.raises(ValueError, match="no SHA-256"):
        fingerprint_prefix(text)
