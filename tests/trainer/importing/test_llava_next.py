"""The published MM-RLHF form: the imported folder scores what the source's own tensors score."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from foreign_models import llava_next
from mmreward_service.reward.checkpoint import load_spec
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_trainer.importing import llava_next as configuration
from mmreward_trainer.importing.conversion import Wishes, prepare
from mmreward_trainer.importing.processing import size_of
from mmreward_trainer.importing.refusal import ImportRefused
from mmreward_trainer.transformers_scorer import TransformersScorer
from PIL import Image
from tiny_models import gradient, noise

TEXTS = {"prompt": "where is it?", "response": "on a chair, the cat."}


@pytest.fixture(scope="module")
def scorer(imported_llava: Path) -> TransformersScorer:
    return TransformersScorer(imported_llava)


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    return llava_next.random_tensors(512, 0)


def source_ids(scorer: TransformersScorer, critique: str | None) -> list[int]:
    """Ids as LLaVA-NeXT makes them: the text cut at <image>, each part tokenised as a whole."""
    templates = scorer.spec.templates
    text = templates.critique.replace("{media}", "<image>")
    text = text.replace("{prompt}", TEXTS["prompt"]).replace("{response}", TEXTS["response"])
    if critique is not None:
        text += critique + "<|im_end|>\n"
    before, after = text.split("<image>")
    encode = scorer.processor.tokenizer
    return [
        *encode(before, add_special_tokens=False).input_ids,
        llava_next.IMAGE_TOKEN_INDEX,
        *encode(after, add_special_tokens=False).input_ids,
    ]


def rendered(scorer: TransformersScorer, critique: str | None) -> list[int]:
    mode = "none" if critique is None else "given"
    return scorer.renderer.render(images=1, mode=mode, critique=critique, **TEXTS)


def as_source(scorer: TransformersScorer, ids: list[int]) -> list[int]:
    return [llava_next.IMAGE_TOKEN_INDEX if token == scorer.image_token else token for token in ids]


def both_scores(
    scorer: TransformersScorer,
    tensors: dict[str, torch.Tensor],
    picture: Image.Image,
    critique: str | None,
) -> tuple[float, float]:
    with torch.inference_mode():
        expected = llava_next.score(tensors, source_ids(scorer, critique), picture)
    [score] = scorer.read([rendered(scorer, critique)], [[picture]])
    return score, expected


@pytest.mark.parametrize("critique", ["It is a cat indeed.", None], ids=["critique", "none"])
def test_the_tokens_are_those_of_the_source(
    scorer: TransformersScorer, critique: str | None
) -> None:
    """The placeholder apart, which LLaVA-NeXT writes as -200, template and texts give its ids, at
    the borders of texts as well; a template file that asks for pieces gets others there."""
    assert scorer.spec.templates.join == "runs"
    assert as_source(scorer, rendered(scorer, critique)) == source_ids(scorer, critique)
    templates = scorer.spec.templates.model_copy(update={"join": "pieces"})
    spec = scorer.spec.model_copy(update={"templates": templates})
    pieces = PromptRenderer(scorer.processor.tokenizer.backend_tokenizer.to_str(), spec)
    other = pieces.render(images=1, mode="given", critique=critique or "", **TEXTS)
    assert as_source(scorer, other) != source_ids(scorer, critique or "")


@pytest.mark.parametrize("critique", ["It is a cat indeed.", None], ids=["critique", "none"])
@pytest.mark.parametrize(
    "picture",
    [noise(1), gradient(7, 112, 56), gradient(3, 224, 224), gradient(9, 168, 56)],
    ids=lambda picture: f"{picture.width}x{picture.height}",
)
def test_the_score_is_that_of_the_source(
    scorer: TransformersScorer,
    tensors: dict[str, torch.Tensor],
    picture: Image.Image,
    critique: str | None,
) -> None:
    """Pictures that need no resizing of their tiles: the same number, to float32's rounding. Wide
    pinpoints show that (width, height) is not exchanged, 224x224 that the grid is shrunk."""
    score, expected = both_scores(scorer, tensors, picture, critique)
    assert score == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("size", [(300, 200), (130, 170), (61, 40)])
def test_resized_pictures_differ_by_the_resampling_alone(
    scorer: TransformersScorer, tensors: dict[str, torch.Tensor], size: tuple[int, int]
) -> None:
    """LLaVA-NeXT resizes with Pillow, transformers with torchvision: pixels differ in the last
    bits, and the padding and the token count do not."""
    score, expected = both_scores(scorer, tensors, gradient(9, *size), "Good.")
    assert score == pytest.approx(expected, abs=5e-3)
    assert score != pytest.approx(
        both_scores(scorer, tensors, noise(3, *size), "Good.")[0], abs=5e-3
    )


def test_the_template_file_may_ask_for_pieces(
    llava_copy: Path, given_files: dict[str, Path], tmp_path: Path
) -> None:
    """Whoever trained with this project's own pieces keeps them; the default is runs."""
    file = tmp_path / "pieces.json"
    file.write_text(
        json.dumps({**json.loads(given_files["templates"].read_text()), "join": "pieces"})
    )
    assert prepare(Wishes(llava_copy, **given_files), "0").spec.templates.join == "runs"
    wishes = Wishes(llava_copy, **{**given_files, "templates": file})
    assert prepare(wishes, "0").spec.templates.join == "pieces"


def test_a_fast_tokenizer_is_read_as_well(
    imported_llava: Path, llava_copy: Path, given_files: dict[str, Path]
) -> None:
    """Some folders hold tokenizer.json; placeholders that are there already are not doubled."""
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        (llava_copy / name).unlink()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (llava_copy / name).write_text((imported_llava / name).read_text())
    conversion = prepare(Wishes(llava_copy, **given_files), "0")
    config = json.loads((imported_llava / "config.json").read_text())
    assert conversion.config["image_token_index"] == config["image_token_index"]
    assert size_of(conversion.tokenizer) == config["video_token_index"] + 1


def test_the_reward_object_is_that_of_the_paper(imported_llava: Path) -> None:
    """Head, read-out, the given template, a free slot; and golden items of transformers."""
    spec = load_spec(imported_llava)
    assert (spec.head.type, spec.read_out, spec.score_slot) == ("tanh", "after_turn", 511)
    assert spec.templates.after_turn == "<|im_end|>\n"
    assert len(spec.golden) == 4
    assert len({item.score for item in spec.golden}) == 4
    assert all(item.critique for item in spec.golden)


def test_where_it_comes_from_is_told(imported_llava: Path, llava_source: Path) -> None:
    """The folder's name, never its path; the form; the converter."""
    config = json.loads((imported_llava / "config.json").read_text())
    assert config["imported"]["source"] == llava_source.name
    assert config["imported"]["form"] == "llava-qwen"
    assert config["imported"]["converter"].startswith("mmreward ")
    assert str(llava_source) not in (imported_llava / "config.json").read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mm_projector_type": "linear"}, "mm_projector_type"),
        ({"mm_patch_merge_type": "flat"}, "mm_patch_merge_type"),
        ({"image_aspect_ratio": "pad"}, "image_aspect_ratio"),
        ({"image_aspect_ratio": "anyres_max_4"}, "anyres_max_9"),
        ({"rope_scaling": {"type": "linear"}}, "rope_scaling"),
        ({"add_faster_video": True}, "add_faster_video"),
        ({"image_grid_pinpoints": "all"}, "image_grid_pinpoints"),
    ],
)
def test_what_transformers_cannot_compute_is_refused(
    change: dict[str, object], message: str
) -> None:
    """A setting that would give other numbers is named."""
    with pytest.raises(ImportRefused, match=message):
        configuration.onevision_config({**llava_next.CONFIG, **change}, llava_next.TOWER, 1, 2)


def test_several_wrong_settings_are_named_at_once() -> None:
    """Nobody wants to come back once per setting."""
    config = {**llava_next.CONFIG, "mm_projector_type": "x", "mm_patch_merge_type": "y"}
    with pytest.raises(ImportRefused) as caught:
        configuration.onevision_config(config, llava_next.TOWER, 1, 2)
    assert len(caught.value.reasons) == 2


def test_an_unknown_tower_has_to_be_described() -> None:
    """The name alone tells no sizes; that of the published checkpoints does."""
    with pytest.raises(ImportRefused, match="--vision-config"):
        configuration.vision_config(llava_next.CONFIG, None)
    for name in ("google/siglip-so400m-patch14-384", "models/siglip-so400m-patch14-384/"):
        known = configuration.vision_config({"mm_vision_tower": name}, None)
        assert (known["num_hidden_layers"], known["image_size"]) == (26, 384)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([[384, 768], [768, 384]], [[768, 384], [384, 768]]),
        ("(1x1),...,(2x2)", [[384, 384], [768, 384], [384, 768], [768, 768]]),
        ("[(1, 2), (2, 1)]", [[768, 384], [384, 768]]),
    ],
)
def test_pinpoints_are_turned_round(value: object, expected: list[list[int]]) -> None:
    """(width, height) of LLaVA-NeXT becomes (height, width), lists and ranges alike."""
    assert configuration.pinpoints({"image_grid_pinpoints": value}, 384) == expected
