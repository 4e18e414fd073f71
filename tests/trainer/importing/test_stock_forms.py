"""Classifiers of transformers and value heads of TRL: the source's own forward pass, reproduced."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from foreign_models import stock
from mmreward_service.reward.checkpoint import load_spec
from mmreward_trainer.importing.conversion import Wishes, prepare
from mmreward_trainer.importing.refusal import ImportRefused
from mmreward_trainer.transformers_scorer import TransformersScorer
from safetensors.torch import load_file, save_file
from tiny_models import FAMILIES, Family, gradient, noise
from transformers import AutoProcessor

from .conftest import importing

TEXTS = {"prompt": "What is it?", "response": "A cat, on a chair."}
PICTURES = [noise(1), gradient(7, 112, 56)]


def imported_scores(output: Path) -> list[float]:
    """Scores without a critique; those of an empty given critique are the same."""
    scorer = TransformersScorer(output)
    none = scorer.renderer.render(images=1, mode="none", **TEXTS)
    assert none == scorer.renderer.render(images=1, mode="given", critique="", **TEXTS)
    return [scorer.read([none], [[picture]])[0] for picture in PICTURES]


def source_inputs(source: Path) -> list[dict[str, Any]]:
    processor = AutoProcessor.from_pretrained(source)
    return [
        stock.inputs(processor, TEXTS["prompt"], TEXTS["response"], picture) for picture in PICTURES
    ]


@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_classifier_gives_its_own_score(family: Family, tmp_path: Path) -> None:
    """transformers' GenericForSequenceClassification, at the token where it reads; its missing bias
    is zero and its missing output layer harmless."""
    source, output = tmp_path / "source", tmp_path / "out"
    classifier = stock.build_classifier(source, family)
    assert importing(Wishes(source), output) == 0
    expected = [stock.classifier_score(classifier, made) for made in source_inputs(source)]
    assert imported_scores(output) == pytest.approx(expected, abs=1e-4)
    assert abs(expected[0] - expected[1]) > 1e-3
    spec = load_spec(output)
    assert (spec.head.type, spec.read_out, spec.max_critique_tokens) == ("linear", "after_turn", 1)
    assert {item.critique for item in spec.golden} == {""}
    config = json.loads((output / "config.json").read_text())
    assert config["tie_word_embeddings"] is True
    assert not {"id2label", "num_labels", "auto_map"} & set(config)


@pytest.mark.parametrize("apart", [False, True], ids=["one file", "value_head.safetensors"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_a_value_head_gives_its_own_value(family: Family, apart: bool, tmp_path: Path) -> None:
    """TRL's ValueHead on the last hidden states, at the last token that is not masked."""
    source, output = tmp_path / "source", tmp_path / "out"
    model, summary = stock.build_value_head(source, family, apart=apart)
    assert importing(Wishes(source), output) == 0
    expected = [stock.value_score(model, summary, made) for made in source_inputs(source)]
    assert imported_scores(output) == pytest.approx(expected, abs=1e-5)
    assert abs(expected[0] - expected[1]) > 1e-4
    assert load_spec(output).head.type == "linear"


def test_names_of_wrappers_and_of_modules_are_known(tmp_path: Path) -> None:
    """`pretrained_model.` of TRL and `model.language_model.` of transformers' modules."""
    source = tmp_path / "source"
    stock.build_value_head(source, "qwen2_5_vl", apart=False)
    file = source / "model.safetensors"
    renamed = {}
    for name, tensor in load_file(file).items():
        inner = name
        if name.startswith("visual."):
            inner = "model." + name
        elif name.startswith("model."):
            inner = name.replace("model.", "model.language_model.", 1)
        renamed[name if name.startswith("v_head.") else f"pretrained_model.{inner}"] = tensor
    save_file(renamed, file, metadata={"format": "pt"})
    conversion = prepare(Wishes(source), "0")
    assert all(move.target for move in conversion.tensors.moves)


def test_two_labels_are_refused(tmp_path: Path) -> None:
    """Which of two outputs is the score is not guessed."""
    stock.build_classifier(tmp_path, "qwen2_vl", labels=3)
    with pytest.raises(ImportRefused, match="3 labels"):
        prepare(Wishes(tmp_path), "0")


def test_two_outputs_are_refused_even_if_the_config_is_silent(tmp_path: Path) -> None:
    """The tensor's shape decides."""
    stock.build_classifier(tmp_path, "qwen2_vl", labels=2)
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    for name in ("id2label", "label2id", "num_labels"):
        config.pop(name, None)
    file.write_text(json.dumps(config))
    with pytest.raises(ImportRefused, match="2 outputs"):
        prepare(Wishes(tmp_path), "0")


def test_padding_in_the_place_that_is_read_is_refused(tmp_path: Path) -> None:
    """transformers passes over padding tokens: with <|im_end|> as padding it reads elsewhere."""
    stock.build_classifier(tmp_path, "qwen2_5_vl")
    file = tmp_path / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["pad_token_id"] = config["text_config"]["eos_token_id"]
    file.write_text(json.dumps(config))
    with pytest.raises(ImportRefused, match="padding token"):
        prepare(Wishes(tmp_path), "0")


def test_another_model_type_is_refused(tmp_path: Path) -> None:
    """A family that is not served is named, with those that are."""
    stock.build_value_head(tmp_path, "qwen2_vl", apart=False)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "model_type": "gemma3"}))
    with pytest.raises(ImportRefused, match=r"gemma3.*served are qwen2_vl"):
        prepare(Wishes(tmp_path), "0")
