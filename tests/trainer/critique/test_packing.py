"""The packed forward pass against plain transformers, sequence by sequence, picture by picture."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmreward_service.engine.protocol import Media
from mmreward_service.images import ImageLimits
from mmreward_service.reward.checkpoint import load_spec
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import Templates
from mmreward_trainer.critique.media import EncodedMedia, MediaEncoder
from mmreward_trainer.critique.model import load_reward_model, media_tokens, rope_index
from mmreward_trainer.critique.packing import (
    Group,
    Packer,
    attention_allowed,
    shared_length,
)
from mmreward_trainer.critique.sequences import Answer, Sequence, SequenceBuilder
from PIL import Image
from tiny_models import FAMILIES, Family, TinyOptions
from tiny_models.pictures import gradient, noise, video_frames
from tiny_models.reference_forward import ReferenceForward
from transformers import AutoProcessor

from .conftest import Checkpoints, png

Row = tuple[tuple[Image.Image, ...], float | None]
ROWS: list[Row] = [
    ((noise(1, 80, 60),), None),
    ((gradient(2, 64, 64), noise(3, 120, 50)), None),
    (video_frames(4), 2.0),
    ((), None),
]
ANSWERS = (("a cat", "yes it is fine"), ("a much longer dog", "no"))


class Bench:
    """One checkpoint with all that a packed forward pass needs."""

    def __init__(
        self, folder: Path, attention: str = "sdpa", templates: Templates | None = None
    ) -> None:
        self.spec = load_spec(folder)
        if templates is not None:
            self.spec = self.spec.model_copy(update={"templates": templates})
        self.model = load_reward_model(
            folder, self.spec.head, dtype=torch.float32, attention=attention
        ).eval()
        self.encoder = MediaEncoder(
            AutoProcessor.from_pretrained(folder),
            self.spec.templates,
            ImageLimits(2**24, 2**24),
            takes_video_metadata=hasattr(self.model.config, "vision_start_token_id"),
        )
        self.builder = SequenceBuilder(PromptRenderer.from_checkpoint(folder, self.spec))

    def packer(self, share: bool) -> Packer:
        rope, sizes = rope_index(self.model)
        return Packer(
            media_tokens(self.model.config),
            self.builder.renderer.end_of_turn_id,
            rope_index=rope,
            rope_arguments=sizes,
            share=share,
        )

    def answers(self, row: Row) -> list[Answer]:
        pictures, fps = row
        images = len(pictures) if fps is None else 0
        return [Answer("What is it?", text, images, fps is not None, why) for text, why in ANSWERS]

    def group(self, row: Row) -> Group:
        """Both answers with their critiques, and both without."""
        media = self.encoder.encode([png(picture) for picture in row[0]], row[1])
        sequences = [self.builder.critique(one) for one in self.answers(row)]
        sequences += [self.builder.bare(one) for one in self.answers(row)]
        return Group([self.encoder.expand(one, media) for one in sequences], media)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("read_out", ["last_critique_token", "after_turn"])
@pytest.mark.parametrize("family", list(FAMILIES))
def test_scores_and_token_losses_are_those_of_each_sequence_alone(
    checkpoints: Checkpoints, family: Family, read_out: str, share: bool
) -> None:
    """A batch of image, two images, video and text against one plain forward pass each."""
    folder = checkpoints(family, TinyOptions(read_out=read_out))  # type: ignore[arg-type]
    bench = Bench(folder)
    groups = [bench.group(row) for row in ROWS]
    batch = bench.packer(share).pack(groups)
    with torch.no_grad():
        output = bench.model(**batch.inputs)
    reference = ReferenceForward(folder)
    losses = []
    for row, places in zip(ROWS, batch.score_of, strict=True):
        media = Media(images=row[0], fps=row[1])
        plain = [bench.builder.critique(one) for one in bench.answers(row)]
        plain += [bench.builder.bare(one) for one in bench.answers(row)]
        for sequence, place in zip(plain, places, strict=True):
            assert sequence.read_at is not None
            assert place is not None
            expected = reference.score(sequence.ids[: sequence.read_at + 1], media)
            assert output.scores[place].item() == pytest.approx(expected, abs=2e-5)
            losses.append(_plain_losses(reference, sequence, media))
    expected_losses = torch.cat(losses)
    assert output.token_losses.shape == expected_losses.shape
    torch.testing.assert_close(output.token_losses, expected_losses, atol=1e-4, rtol=1e-4)


def _plain_losses(reference: ReferenceForward, sequence: Sequence, media: Media) -> torch.Tensor:
    """Cross-entropy of the learned tokens from the model's own logits."""
    ids, inputs = reference._expand(sequence.ids, media)
    config = reference.model.config
    input_ids = torch.tensor([ids])
    if "image_grid_thw" in inputs or "video_grid_thw" in inputs:
        inputs["mm_token_type_ids"] = (input_ids == config.image_token_id).int() + 2 * (
            input_ids == config.video_token_id
        ).int()
    with torch.no_grad():
        logits = reference.model(
            input_ids=input_ids, attention_mask=torch.ones_like(input_ids), **inputs
        ).logits[0]
    offset = len(ids) - len(sequence.ids)
    learned = range(sequence.learned_from + offset, sequence.learned_to + offset)
    return F.cross_entropy(
        logits[[k - 1 for k in learned]], torch.tensor([ids[k] for k in learned]).long(),
        reduction="none",
    )  # fmt: skip


def test_eager_attention_takes_the_mask_as_well(checkpoints: Checkpoints) -> None:
    """Added to the scores instead of selecting them; same result."""
    outputs = []
    for attention in ("sdpa", "eager"):
        bench = Bench(checkpoints("qwen2_5_vl"), attention)
        batch = bench.packer(True).pack([bench.group(row) for row in ROWS[:2]])
        with torch.no_grad():
            outputs.append(bench.model(**batch.inputs))
    torch.testing.assert_close(outputs[0].scores, outputs[1].scores, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("share", [True, False])
def test_gradients_are_those_of_separate_passes(checkpoints: Checkpoints, share: bool) -> None:
    """What is computed once must be learned from by both answers."""
    bench = Bench(checkpoints("qwen3_vl"))
    groups = [bench.group(row) for row in ROWS[:2]]
    _backward(bench, bench.packer(share).pack(groups).inputs)
    packed = {n: p.grad.clone() for n, p in bench.model.named_parameters() if p.grad is not None}
    bench.model.zero_grad()
    alone = bench.packer(False)
    for group in groups:
        for sequence in group.sequences:
            _backward(bench, alone.pack([Group([sequence], group.media)]).inputs)
    for name, parameter in bench.model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(packed[name], parameter.grad, atol=2e-4, rtol=2e-3)
    assert any("visual" in name for name in packed)


def _backward(bench: Bench, inputs: dict[str, torch.Tensor]) -> None:
    output = bench.model(**inputs)
    (output.scores.sum() + output.token_losses.sum()).backward()


def test_a_picture_is_encoded_once_for_a_pair(checkpoints: Checkpoints) -> None:
    """Counted in patches at the door of the vision tower, with and without sharing."""
    bench = Bench(checkpoints("qwen2_5_vl"))
    seen: list[int] = []
    bench.model.model.visual.register_forward_hook(
        lambda module, arguments, output: seen.append(arguments[0].shape[0])
    )
    group = bench.group(ROWS[0])
    patches = group.media.tensors["pixel_values"].shape[0]
    for share in (True, False):
        bench.model(**bench.packer(share).pack([group]).inputs)
    assert seen == [patches, patches]


def test_a_picture_behind_the_answer_is_still_encoded_once(checkpoints: Checkpoints) -> None:
    """Nothing else can be shared then; scores are those of separate rows."""
    bench = Bench(checkpoints("qwen2_5_vl"))
    group = bench.group(ROWS[0])
    piece = group.media.pieces[0]

    def moved(sequence: Sequence) -> Sequence:
        ids = [token for token in sequence.ids if token not in set(piece)]
        half = len(ids) - 3
        return Sequence([*ids[:half], *piece, *ids[half:]], len(ids), len(ids), len(ids) - 1)

    last = Group([moved(one) for one in group.sequences[:2]], group.media)
    shared, alone = (bench.packer(share).pack([last]) for share in (True, False))
    assert shared.inputs["image_order"].tolist() == [0, 0]
    with torch.no_grad():
        scores = [bench.model(**batch.inputs).scores for batch in (shared, alone)]
    torch.testing.assert_close(scores[0], scores[1], atol=1e-5, rtol=1e-5)


def test_a_branch_sees_the_shared_beginning_and_itself() -> None:
    """The mask of a row with two branches and padding, written out."""
    allowed = attention_allowed(torch.tensor([[0, 0, 1, 1, 2, -1]]))[0, 0]
    expected = torch.tensor(
        [
            [1, 0, 0, 0, 0, 0],
            [1, 1, 0, 0, 0, 0],
            [1, 1, 1, 0, 0, 0],
            [1, 1, 1, 1, 0, 0],
            [1, 1, 0, 0, 1, 0],
            [1, 1, 0, 0, 0, 1],
        ]
    )
    assert torch.equal(allowed.int(), expected)


def test_what_is_learned_or_read_is_never_shared() -> None:
    """Two equal answers share all but the last token of the prompt, which predicts the critique."""
    same = Sequence([1, 2, 3, 4, 5], 3, 5, 3)
    assert shared_length([same, same]) == 2
    assert shared_length([same, Sequence([1, 9, 3, 4, 5], 3, 5, 3)]) == 1
    assert shared_length([same, Sequence([8, 2, 3, 4, 5], 3, 5, 3)]) == 0


def test_answers_joined_to_the_template_share_what_is_equal(checkpoints: Checkpoints) -> None:
    """In runs the blank before an answer belongs to its first token: that token is not shared, a
    blank behind a picture merges with the next word, and the scores are those of separate rows."""
    folder = checkpoints("llava_onevision")
    templates = load_spec(folder).templates.model_copy(
        update={
            "join": "runs",
            "image": "<image> ",
            "video": "<video> ",
            "critique": "<|im_start|>{media}the {prompt} says {response}<|im_end|>\n",
        }
    )
    bench = Bench(folder, templates=templates)
    groups = []
    for row in ROWS:
        media = bench.encoder.encode([png(picture) for picture in row[0]], row[1])
        texts = ("the digit", "a digit")
        answers = [Answer("where?", one, len(row[0]), False, one) for one in texts]
        if row[1] is not None:
            answers = [Answer("where?", one, 0, True, one) for one in texts]
        sequences = [bench.encoder.expand(bench.builder.critique(one), media) for one in answers]
        groups.append(Group(sequences, media))
        tokens = bench.encoder.processor.tokenizer.convert_ids_to_tokens
        shared = shared_length(sequences)
        assert tokens([one.ids[shared] for one in sequences]) == ["Ġthe", "Ġa"]
        if row[0]:
            last = max(i for i, token in enumerate(sequences[0].ids) if token in media.pieces[-1])
            assert tokens(sequences[0].ids[last + 1]) == "Ġthe"
    with torch.no_grad():
        scores = [
            bench.model(**bench.packer(share).pack(groups).inputs).scores for share in (True, False)
        ]
    torch.testing.assert_close(scores[0], scores[1], atol=2e-5, rtol=1e-5)


def test_nothing_to_pack_is_an_error(checkpoints: Checkpoints) -> None:
    bench = Bench(checkpoints("qwen2_5_vl"))
    with pytest.raises(ValueError, match="nothing to pack"):
        bench.packer(True).pack([])
    with pytest.raises(ValueError, match="nothing to pack"):
        bench.packer(True).pack([Group([], EncodedMedia({}, []))])
