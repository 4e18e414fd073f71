"""Bytes are copied bit for bit, in little memory, and an interrupted import goes on."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest
import torch
from mmreward_service.check.headers import read_header
from mmreward_trainer.importing import writer
from mmreward_trainer.importing.command import RECORD_FILE
from mmreward_trainer.importing.conversion import Wishes
from mmreward_trainer.importing.writer import Written, write_shards
from safetensors.torch import load_file, save_file

from .conftest import importing


def sources(file: Path, tensors: dict[str, torch.Tensor]) -> list[Written]:
    save_file(tensors, file)
    return [Written("new." + e.name, e.dtype, e.shape, e) for e in read_header(file)]


@pytest.mark.parametrize(
    "dtype", [torch.float32, torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.int64]
)
def test_types_and_bits_stay(tmp_path: Path, dtype: torch.dtype) -> None:
    """Whatever the type, the library reads the same tensor under the new name."""
    tensors = {"b": torch.randn(3, 5).to(dtype), "a": torch.randn(()).to(dtype)}
    wanted = sources(tmp_path / "in.safetensors", tensors)
    [file] = write_shards([wanted], tmp_path, lambda _: None)
    read = load_file(file)
    assert set(read) == {"new.a", "new.b"}
    for name, tensor in tensors.items():
        assert read["new." + name].dtype == dtype
        got, bits = read["new." + name].reshape(-1), tensor.reshape(-1)
        assert torch.equal(got.view(torch.uint8), bits.view(torch.uint8))


def test_added_rows_are_zeros_behind_the_copied_ones(tmp_path: Path) -> None:
    """A vocabulary grows at its end."""
    [wanted] = sources(tmp_path / "in.safetensors", {"e": torch.randn(5, 4)})
    grown = Written("e", "F32", (8, 4), wanted.source)
    bias = Written("bias", "F32", (1,), None)
    [file] = write_shards([[grown, bias]], tmp_path, lambda _: None)
    read = load_file(file)
    assert torch.equal(read["e"][:5], load_file(tmp_path / "in.safetensors")["e"])
    assert torch.equal(read["e"][5:], torch.zeros(3, 4))
    assert torch.equal(read["bias"], torch.zeros(1))


def test_memory_is_a_buffer_however_large_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """32 MB through a buffer of 1 MB: Python holds less than 4 MB at any time."""
    monkeypatch.setattr(writer, "BUFFER_BYTES", 1 << 20)
    wanted = sources(tmp_path / "in.safetensors", {"w": torch.zeros(1 << 23)})
    told: list[int] = []
    tracemalloc.start()
    try:
        write_shards([wanted], tmp_path, told.append)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 << 20
    assert sum(told) == 1 << 25


def test_shards_that_are_whole_are_kept(tmp_path: Path) -> None:
    """What was finished before an interruption is not written again, what was not is."""
    first = sources(tmp_path / "a.safetensors", {"a": torch.ones(4)})
    second = sources(tmp_path / "b.safetensors", {"b": torch.ones(4)})
    files = write_shards([first, second], tmp_path, lambda _: None)
    before = [file.stat().st_mtime_ns for file in files]
    files[1].write_bytes(files[1].read_bytes()[:-1])
    again = write_shards([first, second], tmp_path, lambda _: None)
    assert again == files
    assert files[0].stat().st_mtime_ns == before[0]
    assert torch.equal(load_file(files[1])["new.b"], torch.ones(4))
    assert not list(tmp_path.glob("*.partial"))


def test_an_interrupted_import_goes_on(
    llava_source: Path,
    given_files: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Broken off in the second shard, begun again with --resume: the same folder as in one go."""
    wishes, output = Wishes(llava_source, **given_files), tmp_path / "out"
    whole = writer._write

    def broken(file: Path, *rest: object) -> None:
        if "00002" in file.name:
            raise KeyboardInterrupt
        whole(file, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(writer, "_write", broken)
    with pytest.raises(KeyboardInterrupt):
        importing(wishes, output)
    monkeypatch.undo()
    assert (output / RECORD_FILE).is_file()
    assert importing(wishes, output) == 1, "a folder that is not empty was written to"
    assert importing(wishes, output, resume=True) == 0
    fresh = tmp_path / "fresh"
    assert importing(wishes, fresh) == 0
    for file in fresh.iterdir():
        assert (output / file.name).read_bytes() == file.read_bytes(), file.name


def test_another_import_does_not_go_on_in_the_folder(
    imported_llava: Path, llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """--resume continues the same import and no other."""
    assert importing(Wishes(llava_copy, **given_files), imported_llava, resume=True) == 1


def test_the_source_is_never_written_to(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """Not even when somebody names it as the output."""
    before = {file.name: file.read_bytes() for file in llava_copy.iterdir()}
    assert importing(Wishes(llava_copy, **given_files), llava_copy, resume=True) == 1
    assert {file.name: file.read_bytes() for file in llava_copy.iterdir()} == before
