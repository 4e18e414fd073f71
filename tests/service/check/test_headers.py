"""Headers are read as the library reads them, and a broken file is named, whatever broke it."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmreward_service.check.headers import HeaderError, read_folder, read_header
from safetensors import safe_open
from safetensors.torch import save_file

SHAPES = st.lists(st.integers(0, 4), max_size=3)
DTYPES = st.sampled_from([torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
SAME_FOLDER = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)


@SAME_FOLDER
@given(made=st.dictionaries(NAMES.filter(lambda n: n != "__metadata__"), st.tuples(SHAPES, DTYPES)))
def test_names_types_shapes_and_bytes_are_those_of_the_library(
    tmp_path: Path, made: dict[str, tuple[list[int], torch.dtype]]
) -> None:
    """What was saved is listed, and the bytes between start and end are the tensor."""
    file = tmp_path / "t.safetensors"
    tensors = {name: torch.ones(shape).to(dtype) for name, (shape, dtype) in made.items()}
    save_file(tensors, file, metadata={"format": "pt"})
    entries = read_header(file)
    with safe_open(file, framework="pt") as opened:
        assert {entry.name for entry in entries} == set(opened.keys())
        for entry in entries:
            view = opened.get_slice(entry.name)
            assert (entry.dtype, list(entry.shape)) == (view.get_dtype(), view.get_shape())
    raw = file.read_bytes()
    for entry in entries:
        tensor = tensors[entry.name].contiguous().reshape(-1).view(torch.uint8)
        assert raw[entry.start : entry.end] == bytes(tensor.tolist())


@SAME_FOLDER
@given(cut=st.integers(1, 200))
def test_a_file_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    """Wherever the download stopped."""
    file = tmp_path / "t.safetensors"
    save_file({"a": torch.ones(10), "b": torch.ones(2, 3)}, file)
    whole = file.read_bytes()
    file.write_bytes(whole[: max(0, len(whole) - cut)])
    with pytest.raises(HeaderError, match=r"t\.safetensors"):
        read_header(file)


@SAME_FOLDER
@given(garbage=st.binary(max_size=100))
def test_garbage_is_refused(tmp_path: Path, garbage: bytes) -> None:
    """No exception but ours, and no gigabytes allocated for a length that a stranger wrote."""
    file = tmp_path / "g.safetensors"
    file.write_bytes(garbage)
    with pytest.raises(HeaderError):
        read_header(file)


@pytest.mark.parametrize(
    "header",
    [
        {"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}},
        {"a": {"dtype": "F32", "data_offsets": [0, 4]}},
        {"a": 3},
        [],
    ],
)
def test_headers_that_contradict_themselves_are_refused(tmp_path: Path, header: object) -> None:
    """Types nobody knows, sizes that do not fit shapes, missing fields."""
    file, text = tmp_path / "t.safetensors", json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
    with pytest.raises(HeaderError):
        read_header(file)


def test_an_index_and_its_files_have_to_agree(tmp_path: Path) -> None:
    """Missing files, missing tensors and tensors that no index knows are all named."""
    save_file({"a": torch.ones(1), "stray": torch.ones(1)}, tmp_path / "1.safetensors")
    weight_map = {"a": "1.safetensors", "b": "1.safetensors"}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    entries, problems = read_folder(tmp_path)
    assert {entry.name for entry in entries} == {"a", "stray"}
    assert any("promises b" in problem for problem in problems)
    assert any("stray" in problem for problem in problems)
    index.write_text(json.dumps({"weight_map": {**weight_map, "c": "2.safetensors"}}))
    assert any("2.safetensors does not exist" in problem for problem in read_folder(tmp_path)[1])
    index.write_text(json.dumps({"weight_map": {"a": "../1.safetensors"}}))
    assert "outside" in read_folder(tmp_path)[1][0]
