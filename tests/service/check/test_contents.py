"""Everything that would stop a checkpoint from being served is found, all of it, without an engine.

Where the service itself refuses a folder at its start, the check and the service must agree.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_models import stock
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.check.contents import head_shapes
from mmreward_service.check.findings import Findings
from mmreward_service.check.folder import open_folder
from mmreward_service.engine.vllm.fence import check_checkpoint as fence_check
from mmreward_service.reward.checkpoint import CheckpointError
from mmreward_service.reward.head import head_tensor_shapes
from mmreward_service.reward.spec import HeadSpec
from safetensors.torch import load_file, save_file

from .conftest import check, problems

Edit = Callable[[Callable[[dict[str, Any]], object]], None]


def change_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    change(tensors)
    save_file(tensors, file, metadata={"format": "pt"})


def test_the_bundled_model_would_serve(digits: Path) -> None:
    """Nothing to complain about, and the service thinks so, too."""
    report = check(digits)
    assert problems(report) == []
    topics = {finding.topic for finding in report.findings.found}
    assert {"format", "architecture", "vocabulary", "slot", "head", "weights"} <= topics
    assert {"templates", "fence", "calibration", "golden", "dtype"} <= topics
    fence_check(digits)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.pop("reward"), "no `reward` object"),
        (lambda c: c["reward"].update(score_slot=5), "slot: score_slot 5 is a real token"),
        (lambda c: c["reward"].update(score_slot=900), "slot: score_slot 900 is outside"),
        (lambda c: c["reward"]["head"].update(inner_size=32), "reward_head.dense.weight has shape"),
        (lambda c: c["reward"]["head"].update(type="linear"), "a linear head has no tensor"),
        (lambda c: c["reward"]["templates"].update(critique="x"), "reward.templates"),
        (lambda c: c["reward"]["templates"].pop("end_of_turn"), "reward.templates.end_of_turn"),
        (lambda c: c.update(architectures=["GPT2LMHeadModel"]), "GPT2LMHeadModel is not supported"),
        (lambda c: c["text_config"].update(vocab_size=760), "no id is free"),
        (lambda c: c["text_config"].pop("vocab_size"), "config.json has no vocab_size"),
    ],
)
def test_what_the_service_refuses_is_a_problem(
    digits: Path, edit: Edit, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    """Both say no; the check says what."""
    edit(change)
    with pytest.raises(CheckpointError):
        fence_check(digits)
    found = problems(check(digits))
    assert any(expected in problem for problem in found), found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c["text_config"].update(num_hidden_layers=5), "layer 4 has no"),
        (lambda c: c["text_config"].update(num_hidden_layers=3), "there is a layer 3"),
        (lambda c: c["text_config"].update(hidden_size=64), "embed_tokens.weight has shape"),
        (
            lambda c: [
                c.update(tie_word_embeddings=False),
                c["text_config"].update(tie_word_embeddings=False),
            ],
            "the output layer (lm_head) is missing",
        ),
        (lambda c: c["reward"]["templates"].update(end_of_turn="END"), "is not one special token"),
        (lambda c: c["reward"]["templates"].update(image="picture"), "holds no special token"),
        (lambda c: c["reward"]["golden"][2].update(image="data:,x"), "golden item 2"),
        (lambda c: c["reward"].update(max_critique_tokens=600), "leaves no room"),
    ],
)
def test_what_would_fail_later_is_a_problem_now(
    digits: Path, edit: Edit, change: Callable[[dict[str, Any]], object], expected: str
) -> None:
    """The engine would find these after it was paid for, or the first request would."""
    edit(change)
    found = problems(check(digits))
    assert any(expected in problem for problem in found), found


def test_all_problems_are_named_at_once(digits: Path, edit: Edit) -> None:
    """Not the first alone: five broken things, five topics."""

    def change(config: dict[str, Any]) -> None:
        config["architectures"] = ["Other"]
        config["reward"]["score_slot"] = 3
        config["reward"]["templates"]["end_of_turn"] = "END"

    edit(change)
    change_tensors(digits, lambda tensors: tensors.pop("reward_head.out.bias"))
    report = check(digits, engine_args={"enable_lora": True, "speculative_config": {"x": 1}})
    topics = [finding.topic for finding in report.findings.problems]
    assert set(topics) == {"architecture", "slot", "templates", "head", "fence"}
    assert topics.count("fence") == 2
    assert not report.findings.would_serve


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_missing_and_broken_files_are_named(digits: Path, name: str, content: str | None) -> None:
    """A file that is absent, empty or of the wrong kind; nothing raises."""
    if content is None:
        (digits / name).unlink()
    else:
        (digits / name).write_text(content)
    assert any(name in problem for problem in problems(check(digits)))


def test_pickled_weights_are_a_problem(digits: Path) -> None:
    """They are never read."""
    (digits / "model.safetensors").unlink()
    (digits / "pytorch_model.bin").write_bytes(b"")
    assert any("pickle" in problem for problem in problems(check(digits)))


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """A path that leads nowhere is one problem."""
    assert problems(check(tmp_path / "nowhere")) == [
        f"format: {tmp_path / 'nowhere'} is not a folder"
    ]


def test_a_reward_model_of_another_form_is_told_the_way(tmp_path: Path) -> None:
    """`mmreward-serve their-model` is the first thing that anybody tries."""
    stock.build_value_head(tmp_path, "qwen2_vl", apart=False)
    report = check(tmp_path)
    assert any("no `reward` object" in problem for problem in problems(report))
    notes = [finding.text for finding in report.findings.found if finding.weight == "note"]
    assert any("v_head" in note and "mmreward-train import" in note for note in notes)


def test_the_processor_has_to_be_there(digits: Path) -> None:
    """Without it no picture is ever read."""
    (digits / "processor_config.json").unlink()
    assert any("processor_config.json" in problem for problem in problems(check(digits)))


def test_a_length_beyond_the_model_is_a_problem(digits: Path) -> None:
    """vLLM would refuse it at its start."""
    assert any("beyond the 512" in p for p in problems(check(digits, max_model_len=4096)))


def test_missing_calibration_and_golden_items_are_notes(digits: Path, edit: Edit) -> None:
    """The service starts without them; whoever starts it should know."""
    edit(lambda config: config["reward"].update(calibration=[], golden=[]))
    report = check(digits)
    assert problems(report) == []
    notes = {finding.topic for finding in report.findings.found if finding.weight == "note"}
    assert {"calibration", "golden"} <= notes


@given(
    hidden=st.integers(1, 64),
    spec=st.builds(
        HeadSpec,
        type=st.sampled_from(["tanh", "silu", "linear"]),
        inner_size=st.none() | st.integers(1, 64),
    ),
)
def test_head_shapes_are_those_of_the_head(hidden: int, spec: HeadSpec) -> None:
    """Written down without torch, they must stay what torch builds."""
    assert head_shapes(hidden, spec) == head_tensor_shapes(hidden, spec)


def test_the_vocabulary_in_use_is_that_of_the_service(digits: Path) -> None:
    """One definition of the first free id."""
    from mmreward_service.reward.checkpoint import tokenizer_size

    assert open_folder(digits, Findings()).tokenizer_size == tokenizer_size(digits)


def test_flat_configs_are_read(digits: Path, edit: Edit) -> None:
    """Older Qwen2-VL folders keep the language model's settings at the top."""

    def flatten(config: dict[str, Any]) -> None:
        config.update(config.pop("text_config") | {"model_type": config["model_type"]})

    edit(flatten)
    assert problems(check(digits)) == []


def test_shards_are_followed(digits: Path) -> None:
    """A checkpoint in two files is the same checkpoint."""
    file = digits / "model.safetensors"
    tensors = load_file(file)
    file.unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, part in enumerate((names[:30], names[30:])):
        save_file({n: tensors[n] for n in part}, digits / f"{number}.safetensors")
        weight_map |= dict.fromkeys(part, f"{number}.safetensors")
    index = digits / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    assert problems(check(digits)) == []
    shutil.move(digits / "1.safetensors", digits / "elsewhere")
    assert any("1.safetensors does not exist" in problem for problem in problems(check(digits)))
