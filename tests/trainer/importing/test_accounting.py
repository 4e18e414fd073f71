"""Every tensor of a source is accounted for, and everything that is wrong is named at once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from mmreward_trainer.importing.conversion import Wishes, prepare
from mmreward_trainer.importing.plan import vocabulary_rows
from mmreward_trainer.importing.refusal import ImportRefused
from safetensors.torch import load_file, save_file

from .conftest import importing

Change = Callable[[dict[str, torch.Tensor]], object]


def change_tensors(folder: Path, change: Change) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def reasons(folder: Path, given: dict[str, Path], **options: object) -> list[str]:
    with pytest.raises(ImportRefused) as caught:
        prepare(Wishes(folder, **given, **options), "0")  # type: ignore[arg-type]
    return list(caught.value.reasons)


def test_unknown_missing_and_misshapen_tensors_are_all_named(
    llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """One refusal, every reason."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.talking_head.weight"] = torch.ones(3)
        del tensors["model.layers.1.mlp.up_proj.weight"]
        del tensors["rm_head.dense.bias"]
        tensors["model.norm.weight"] = torch.ones(64)

    change_tensors(llava_copy, change)
    found = "\n".join(reasons(llava_copy, given_files))
    assert "unknown tensor model.talking_head.weight [3]" in found
    assert "missing tensor language_model.model.layers.1.mlp.up_proj.weight" in found
    assert "missing tensor rm_head.dense.bias" in found
    assert "model.norm.weight has shape [64], the model needs [128]" in found
    assert "--ignore" in found


def test_unknown_tensors_can_be_ignored_by_name(
    llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """Only what the pattern names, and it is told what was left out."""
    change_tensors(llava_copy, lambda t: t.update({"model.extra.a": torch.ones(1)}))
    conversion = prepare(Wishes(llava_copy, **given_files, ignore=("model.extra.*",)), "0")
    left_out = [move for move in conversion.tensors.moves if move.target is None]
    assert [(m.source.name, m.remark) for m in left_out] == [("model.extra.a", "ignored as asked")]
    assert reasons(llava_copy, given_files, ignore=("model.other.*",))


def test_a_needed_tensor_cannot_be_ignored(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """A pattern leaves unknown tensors out, never one that the model has a place for."""
    conversion = prepare(Wishes(llava_copy, **given_files, ignore=("*",)), "0")
    assert all(move.target for move in conversion.tensors.moves)


def test_buffers_are_left_out_for_a_reason(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """Older releases saved what is recomputed."""
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    change_tensors(llava_copy, lambda t: t.update({name: torch.ones(16)}))
    conversion = prepare(Wishes(llava_copy, **given_files), "0")
    [move] = [move for move in conversion.tensors.moves if move.target is None]
    assert "recomputed" in move.remark


def test_pickled_weights_are_refused_with_the_reason(
    llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """They would run code; they are not opened."""
    (llava_copy / "model.safetensors").unlink()
    (llava_copy / "pytorch_model.bin").write_bytes(b"\x80\x04never read")
    [reason] = reasons(llava_copy, given_files)
    assert "pytorch_model.bin" in reason
    assert "pickle" in reason
    assert "training_args" not in reason


def test_adapters_are_refused(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """Merging is the owner's business."""
    (llava_copy / "adapter_config.json").write_text("{}")
    assert "merge" in reasons(llava_copy, given_files)[0]


def test_a_file_cut_short_is_named(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """An unfinished download must not become a model."""
    file = llava_copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    assert "unfinished download" in reasons(llava_copy, given_files)[0]


def test_scores_beyond_the_slot_are_refused(
    llava_copy: Path,
    given_files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A head that gives thousands would be `not_finite` for every item once served."""
    change_tensors(llava_copy, lambda t: t.update({"rm_head.out_proj.bias": torch.ones(1) * 500}))
    assert importing(Wishes(llava_copy, **given_files), tmp_path / "out") == 1
    assert "score slot carries" in capsys.readouterr().err


def test_a_folder_without_a_head_names_the_known_heads(
    llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """Whoever comes with a plain model learns what is looked for."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if name.startswith("rm_head.")]:
            del tensors[name]

    change_tensors(llava_copy, change)
    [reason] = reasons(llava_copy, given_files)
    for name in ("rm_head.dense.weight", "score.weight", "v_head.summary.weight"):
        assert name in reason


def test_the_form_asked_for_must_be_the_one_found(
    llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """--form is a check, not a spell."""
    assert "that of llava-qwen" in reasons(llava_copy, given_files, form="value-head")[0]


def test_templates_are_asked_for(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """The wording of a critique prompt is in no file of the source."""
    only_tower = {"vision_config": given_files["vision_config"]}
    assert "--templates" in reasons(llava_copy, only_tower)[0]


def test_a_full_vocabulary_is_enlarged(llava_copy: Path, given_files: dict[str, Path]) -> None:
    """364 ids with the placeholders, 363 rows: rows of zeros up to the next multiple of 64."""

    def change(tensors: dict[str, torch.Tensor]) -> None:
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = tensors[name][:363].clone()

    change_tensors(llava_copy, change)
    file = llava_copy / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "vocab_size": 363}))
    conversion = prepare(Wishes(llava_copy, **given_files), "0")
    assert conversion.spec.score_slot == 383
    assert conversion.config["text_config"]["vocab_size"] == 384
    grown = [w for shard in conversion.tensors.shards for w in shard if w.shape[0] == 384]
    assert len(grown) == 2
    assert any("rows of zeros" in note for note in conversion.notes)


@pytest.mark.parametrize(
    ("rows", "used", "expected"), [(512, 364, 512), (364, 364, 384), (384, 384, 448), (10, 9, 10)]
)
def test_a_free_id_is_all_that_is_needed(rows: int, used: int, expected: int) -> None:
    """An embedding with room stays as it is."""
    assert vocabulary_rows(rows, used) == expected
