"""Forms of data by their names: the same pairs as from each reader, and names that are none."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmreward_client.data import (
    Columns,
    ReadOptions,
    read_mm_rlhf,
    read_pairs,
    read_rlhf_v,
    read_vl_rewardbench,
)
from mmreward_client.data.forms import (
    FORMS,
    build_of,
    columns_of,
    default_root,
    reader_of,
    rows_of,
)
from mmreward_client.errors import InvalidInput

TEXTS = {"prompt": "What?", "chosen": "There are three red cats.", "rejected": "There are five."}
VL = {"id": "a", "image_path": "cat.png", "query": "What?", "response": ["A.", "B."]}


@pytest.mark.parametrize(
    ("form", "row", "read"),
    [
        ("mm-rlhf", {"id": "1", "image": "cat.png", **TEXTS}, read_mm_rlhf),
        ("vl-rewardbench", {**VL, "human_ranking": [1, 0]}, read_vl_rewardbench),
        ("rlhf-v", {"question": "What?", "image": "cat.png", **TEXTS}, read_rlhf_v),
        ("pairs", TEXTS, lambda path, options: read_pairs(path, options=options)),
    ],
)
def test_a_form_is_its_reader(form, row, read, pictures, write_rows):
    """By name or by function: the same pair."""
    file, options = write_rows([row]), ReadOptions(image_root=pictures)
    (by_name,), (by_function,) = reader_of(file, form, options), read(file, options)
    assert by_name == by_function
    assert form in FORMS


def test_columns_by_their_names():
    """Each field once, in one text or several."""
    found = columns_of("prompt=question, chosen = good", "images=picture")
    assert found == Columns(prompt="question", chosen="good", images="picture")


@pytest.mark.parametrize("text", ["", "other=x", "prompt", "prompt=", "prompt=a,prompt=b", "=x"])
def test_columns_that_are_none(text):
    """A misspelt field is told of."""
    with pytest.raises(InvalidInput):
        columns_of(text)


def test_forms_that_are_none():
    """No such name; columns for a form that has its own."""
    with pytest.raises(InvalidInput, match="form 'other' is none of pairs, mm-rlhf"):
        build_of("other")
    with pytest.raises(InvalidInput, match="has its own columns"):
        build_of("rlhf-v", Columns(prompt="q"))


def test_files_and_folders(write_rows, tmp_path):
    """A file has no splits, a folder must be a saved dataset, and only files have a root."""
    file = write_rows([TEXTS])
    assert len(list(rows_of(file)())) == 1
    with pytest.raises(InvalidInput, match="only a saved dataset has splits"):
        rows_of(file, "train")
    pytest.importorskip("datasets")
    with pytest.raises(InvalidInput, match="is no saved dataset"):
        rows_of(tmp_path)
    assert default_root(file) == file.parent
    assert default_root(Path(tmp_path)) is None


def test_a_saved_split(tmp_path):
    """A dataset of one split needs none named; of several, the right one."""
    datasets = pytest.importorskip("datasets")
    split = datasets.Dataset.from_list([TEXTS])
    split.save_to_disk(tmp_path / "one")
    datasets.DatasetDict({"train": split, "test": split}).save_to_disk(tmp_path / "two")
    (pair,) = reader_of(tmp_path / "one", "pairs", ReadOptions())
    assert pair.chosen == TEXTS["chosen"]
    (pair,) = reader_of(tmp_path / "two", "pairs", ReadOptions(), split="test")
    assert pair.where.path == str(tmp_path / "two")
    for folder, name in (("one", "train"), ("two", None), ("two", "other")):
        with pytest.raises(InvalidInput):
            rows_of(tmp_path / folder, name)
