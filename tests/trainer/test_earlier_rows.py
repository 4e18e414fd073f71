"""A checkpoint lists the rows of its start beside its own, or says that it cannot."""

from __future__ import annotations

from pathlib import Path

from mmreward_service.reward.checkpoint import write_spec
from mmreward_trainer.earlier_rows import write_all_training_rows
from mmreward_trainer.training_rows import (
    EARLIER,
    FINGERPRINTS_FILE,
    holds,
    read_training_rows,
    write_training_rows,
)
from tiny_models import build_tiny_checkpoint

START, OWN, LATER = "ab" * 32, "0c" * 32, "77" * 32


def test_rows_of_the_start_are_carried_on(tmp_path: Path) -> None:
    """Both are found, in a list that is whole; over two trainings as over one.

    A start without a list is said, or the new list would look whole.
    """
    model, output = tmp_path / "model", tmp_path / "output"
    spec = build_tiny_checkpoint(model, "qwen2_5_vl")
    output.mkdir()
    listed = write_all_training_rows(output, model, [OWN])
    assert (listed["rows"], listed[EARLIER]) == (1, "unknown")

    listed = write_training_rows(model, [START])
    write_spec(model, spec.model_copy(update={"training_rows": listed}))
    for rows, new in enumerate((OWN, LATER), start=2):
        listed = write_all_training_rows(output, model, [new])
        assert (listed["rows"], EARLIER in listed) == (rows, False)
        # What was trained becomes the next start.
        (model / FINGERPRINTS_FILE).write_bytes((output / FINGERPRINTS_FILE).read_bytes())
        write_spec(model, spec.model_copy(update={"training_rows": listed}))
    known = read_training_rows(model, spec.model_copy(update={"training_rows": listed}))
    assert all(holds(known, one) for one in (START, OWN, LATER))
