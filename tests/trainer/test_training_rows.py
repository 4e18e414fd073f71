"""The side file of training rows: what was trained on is found, what was not is not."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.data import ImageSource, PreferencePair, Where
from mmreward_trainer.training_rows import (
    FINGERPRINTS_FILE,
    TrainingRowsError,
    TrainingRowsUnknown,
    overlap,
    read_training_rows,
    write_training_rows,
)
from reward_folders import make_spec


def pair(number: int, **changes: object) -> PreferencePair:
    made = PreferencePair(
        id=f"q{number}",
        prompt="How many?",
        chosen=f"There are {number}.",
        rejected="None.",
        images=(ImageSource(content=f"picture {number}".encode()),),
        video=None,
        chosen_reason=None,
        rejected_reason=None,
        is_tie=False,
        category=None,
        where=Where("pairs.jsonl", number),
        extra={},
    )
    return replace(made, **changes)


def trained_on(folder: Path, *pairs: PreferencePair) -> object:
    return make_spec(training_rows=write_training_rows(folder, (p.fingerprint() for p in pairs)))


def test_rows_trained_on_are_found(tmp_path: Path) -> None:
    """Moved, renamed, with another critique: still the same row. Another label is another row."""
    spec = trained_on(tmp_path, *(pair(n) for n in range(50)))
    moved = replace(pair(7), id="other", where=Where("x.jsonl", 1), chosen_reason="Because.")
    swapped = replace(pair(8), chosen=pair(8).rejected, rejected=pair(8).chosen)
    assert overlap(tmp_path, spec, [pair(50), moved, swapped, pair(49)]) == [moved, pair(49)]


@given(
    trained=st.sets(st.integers(0, 2**256 - 1), max_size=30),
    others=st.sets(st.integers(0, 2**256 - 1), max_size=30),
)
def test_the_file_is_a_set_of_prefixes(
    tmp_path_factory: pytest.TempPathFactory, trained: set[int], others: set[int]
) -> None:
    """What is read back is the sorted set of what was written, whatever its order and number."""
    folder = tmp_path_factory.mktemp("rows")
    written = [f"{number:064x}" for number in trained]
    facts = write_training_rows(folder, [*written, *written[:3]])
    known = read_training_rows(folder, make_spec(training_rows=facts))
    assert known.tolist() == sorted({number >> 192 for number in trained})
    assert (facts["rows"], facts["distinct"]) == (len(trained) + len(written[:3]), len(known))
    assert write_training_rows(folder, reversed(written))["sha256"] == facts["sha256"]


def test_a_checkpoint_without_fingerprints_is_unknown(tmp_path: Path) -> None:
    """Not knowing is told apart from no overlap."""
    with pytest.raises(TrainingRowsUnknown, match="no fingerprints"):
        overlap(tmp_path, make_spec(training_rows={"pairs": 54240}), [pair(1)])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:-8]), "SHA-256"),
        (lambda file: file.unlink(), "No such file"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, damage, message: str) -> None:
    spec = trained_on(tmp_path, pair(1), pair(2))
    damage(tmp_path / FINGERPRINTS_FILE)
    with pytest.raises(TrainingRowsError, match=message):
        overlap(tmp_path, spec, [pair(1)])


@pytest.mark.parametrize(
    ("content", "message"), [(b"1234567", "multiple"), (b"\1" * 8 + b"\0" * 8, "not sorted")]
)
def test_a_file_of_another_shape_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "rows").write_bytes(content)
    facts = {"fingerprints": "rows", "sha256": hashlib.sha256(content).hexdigest()}
    with pytest.raises(TrainingRowsError, match=message):
        read_training_rows(tmp_path, make_spec(training_rows=facts))


@pytest.mark.parametrize("name", ["../rows", "/etc/passwd", "", 7])
def test_the_file_lies_in_the_folder(tmp_path: Path, name: object) -> None:
    """config.json of somebody else opens no path outside of its folder."""
    with pytest.raises(TrainingRowsError, match="no file name"):
        read_training_rows(tmp_path, make_spec(training_rows={"fingerprints": name}))


def test_what_is_no_fingerprint_is_refused(tmp_path: Path) -> None:
    """Nothing is written then: half a list would hide an overlap."""
    with pytest.raises(ValueError, match="no SHA-256"):
        write_training_rows(tmp_path, [pair(1).fingerprint(), "abc"])
    assert list(tmp_path.iterdir()) == []
