"""The loss of a step: by hand, against an independent way of computing it, however it is cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from mmreward_trainer.critique.configuration import CritiqueConfig, Loss
from mmreward_trainer.critique.encoding import EncodedPair
from mmreward_trainer.critique.objective import COUNTS, count, loss_of, plan
from mmreward_trainer.critique.preparation import Parts, prepare
from mmreward_trainer.critique.rows import build_rows
from mmreward_trainer.critique.trainer import by_length
from mmreward_trainer.critique.validation import Judge, figures
from transformers import AutoModelForImageTextToText, AutoProcessor

from .conftest import Checkpoints

WEIGHTS = Loss(critique=0.7, score=1.3, none=0.4, tie=0.5, centring=0.02, label_smoothing=0.1)


@pytest.fixture(scope="module")
def parts(checkpoints: Checkpoints, colours: Path) -> Parts:
    return prepare(_config(checkpoints("qwen2_5_vl"), colours))


def _config(model: Path, colours: Path, **more: Any) -> CritiqueConfig:
    return CritiqueConfig.model_validate(
        {
            "model": model,
            "data": {"train": [colours / "train.jsonl"]},
            "loss": WEIGHTS.model_dump(),
            "run": {"precision": "float32", "cpu": True},
            **more,
        }
    )


@pytest.fixture(scope="module")
def pairs(
    parts: Parts, colours: Path, tmp_path_factory: pytest.TempPathFactory
) -> list[EncodedPair]:
    """Twelve rows: most with reasons, one tie, one without reasons, one tie without reasons."""
    data = _config(Path("unused"), colours).data
    rows = build_rows(data.train, data, tmp_path_factory.mktemp("rows"))
    return [parts.encoder.encode(rows.table[i]) for i in range(12)]


def _loss(parts: Parts, pairs: list[EncodedPair], totals: torch.Tensor, own: Any = None) -> Any:
    made = plan(parts.encoder, pairs, WEIGHTS, own)
    batch = parts.packer.pack(made.groups)
    return loss_of(made, batch, parts.model(**batch.inputs), WEIGHTS, totals)


def test_the_loss_is_that_of_plain_transformers(
    parts: Parts, pairs: list[EncodedPair], checkpoints: Checkpoints
) -> None:
    """Each text through the processor and `labels=`, each score from `output_hidden_states`.

    Written from the formulas, without packing, renderer or the modules above; ties, missing
    reasons and label smoothing among them.
    """
    folder = checkpoints("qwen2_5_vl")
    model = AutoModelForImageTextToText.from_pretrained(folder, attn_implementation="eager").eval()
    processor = AutoProcessor.from_pretrained(folder)
    head = parts.model.reward_head

    def encode(text: str) -> list[int]:
        return processor.tokenizer(text, add_special_tokens=False).input_ids

    def run(pair: EncodedPair, response: str, critique: str | None) -> tuple[Any, Any, int]:
        media = dict(pair.media.tensors)
        grid = media["image_grid_thw"][0]
        pads = "<|image_pad|>" * int(grid.prod() // 4)
        # The pieces that somebody else wrote are tokenised by themselves.
        before = [
            f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>Question: ",
            pair.chosen.prompt, "\nAnswer: ", response, "<|im_end|>\n<|im_start|>assistant\n",
        ]  # fmt: skip
        if critique is None:
            before[-1] += "Score:"
        short = [token for piece in before for token in encode(piece)]
        after = [] if critique is None else encode(critique) + encode("<|im_end|>")
        ids = torch.tensor([short + after])
        labels = ids.clone()
        labels[0, : len(short)] = -100
        types = (ids == model.config.image_token_id).int()
        output = model(
            input_ids=ids,
            mm_token_type_ids=types,
            output_hidden_states=True,
            labels=labels,
            **media,
        )
        return output, labels, len(short)

    tokens: list[torch.Tensor] = []
    score, none, tie, centre = [], [], [], []
    with torch.no_grad():
        for pair in pairs:
            scores, bare = [], []
            for answer in pair.answers:
                plain, _, _ = run(pair, answer.response, None)
                bare.append(head(plain.hidden_states[-1][0, -1]))
                if not pair.learns_critiques:
                    continue
                output, labels, _ = run(pair, answer.response, answer.critique)
                tokens.append(
                    F.cross_entropy(
                        output.logits[0, :-1].float(), labels[0, 1:], reduction="none",
                        ignore_index=-100,
                    )[labels[0, 1:] != -100]
                )  # fmt: skip
                scores.append(head(output.hidden_states[-1][0, -2]))
            chosen, rejected = scores if pair.learns_critiques else bare
            centre.append((chosen + rejected) ** 2)
            if pair.is_tie:
                tie.append((chosen - rejected) ** 2)
                continue
            score.append(_smoothed(chosen - rejected))
            if pair.learns_critiques:
                none.append(_smoothed(bare[0] - bare[1]))
        expected = (
            0.7 * torch.cat(tokens).mean()
            + 1.3 * (torch.stack(score).mean() + 0.5 * torch.stack(tie).mean())
            + 0.4 * torch.stack(none).mean()
            + 0.02 * torch.stack(centre).mean()
        )
        actual = _loss(parts, pairs, count(pairs)).loss
    assert len(tie) == 2
    assert len(score) - len(none) == 1
    assert actual.item() == pytest.approx(expected.item(), rel=2e-5)


def _smoothed(lead: torch.Tensor) -> torch.Tensor:
    return -0.9 * F.logsigmoid(lead) - 0.1 * F.logsigmoid(-lead)


@pytest.mark.parametrize("cuts", [[12], [6, 6], [1] * 12, [5, 4, 3]])
def test_a_step_is_the_same_however_it_is_cut(
    parts: Parts, pairs: list[EncodedPair], cuts: list[int]
) -> None:
    """Gradients of accumulated batches against those of one batch of all twelve."""
    totals = count(pairs)
    whole = _gradient(parts, [pairs], totals)
    at = 0
    batches = []
    for size in cuts:
        batches.append(pairs[at : at + size])
        at += size
    pieces = _gradient(parts, batches, totals)
    for name, gradient in whole.items():
        torch.testing.assert_close(pieces[name], gradient, atol=1e-5, rtol=1e-3)


def _gradient(
    parts: Parts, batches: list[list[EncodedPair]], totals: torch.Tensor
) -> dict[str, torch.Tensor]:
    parts.model.zero_grad()
    for batch in batches:
        _loss(parts, batch, totals).loss.backward()
    return {n: p.grad.clone() for n, p in parts.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("with_critiques", [True, False])
def test_a_score_that_is_no_number_is_not_judged(
    parts: Parts, colours: Path, tmp_path: Path, with_critiques: bool
) -> None:
    """NaN is neither above nor below: as a margin it would count as wrong without a word."""
    data = _config(Path("unused"), colours).data
    table = build_rows([colours / "validation.jsonl"], data, tmp_path).table
    judge = Judge(parts.encoder, parts.packer, parts.writer, table, 2, 2, with_critiques)
    bias = parts.model.reward_head.out.bias
    kept = bias.detach().clone()
    try:
        with torch.no_grad():
            bias.fill_(float("nan"))
        judged = judge.judge(parts.model)
    finally:
        with torch.no_grad():
            bias.copy_(kept)
    assert [one.delta for one in judged] == [None, None]
    assert figures(judged) == {"pairs": 2, "judged": 0, "unfinished": 2}


def test_a_critique_never_holds_the_place_of_a_picture(
    parts: Parts, pairs: list[EncodedPair]
) -> None:
    """A model that would rather write placeholders than anything else: what it writes instead can
    be read in again, with as many places for pictures as there are pictures."""
    image = parts.model.config.image_token_id
    end = parts.encoder.builder.renderer.end_of_turn_id

    def prefer(_module: Any, _inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        wanted = torch.zeros_like(logits)
        wanted[..., image], wanted[..., end] = 300.0, 100.0
        return logits + wanted

    few = [pair for pair in pairs if pair.learns_critiques][:2]
    hook = parts.model.lm_head.register_forward_hook(prefer)
    try:
        written = parts.writer.write(parts.model, few, temperature=1.0)
    finally:
        hook.remove()
    assert written == [([], []), ([], [])]
    assert image in parts.writer.never


def test_batches_of_a_step_are_cut_by_length(pairs: list[EncodedPair]) -> None:
    """No pair is lost or doubled, sizes stay, and the widths add up to the least there can be."""
    batches = [{"pairs": pairs[:5]}, {"pairs": pairs[5:10]}, {"pairs": pairs[10:]}]
    cut = by_length(batches)
    assert [len(batch["pairs"]) for batch in cut] == [5, 5, 2]
    flat = [pair for batch in cut for pair in batch["pairs"]]
    assert sorted(pair.where for pair in flat) == sorted(pair.where for pair in pairs)
    assert [pair.longest for pair in flat] == sorted(pair.longest for pair in pairs)
    assert by_length([]) == []


def test_counts_are_of_what_is_learned(parts: Parts, pairs: list[EncodedPair]) -> None:
    """Rows 3 (tie), 5 (no reasons) and 8 (both) of twelve."""
    counts = dict(zip(COUNTS, count(pairs).tolist(), strict=True))
    assert (counts["pairs"], counts["ties"], counts["reasoned"]) == (10, 2, 9)
    encode = parts.encoder.builder.renderer.encode_user_text
    reasoned = [pair for i, pair in enumerate(pairs) if i not in (5, 8)]
    assert counts["tokens"] == sum(
        len(encode(answer.critique or "")) + 1 for pair in reasoned for answer in pair.answers
    )


def test_own_critiques_are_scored_and_the_data_s_learned(
    parts: Parts, pairs: list[EncodedPair]
) -> None:
    """Scores move with the model's own critiques, the critique loss does not."""
    some = [pair for pair in pairs[:3] if pair.learns_critiques]
    totals = count(some)
    given = _loss(parts, some, totals).seen
    encode = parts.encoder.builder.renderer.encode_user_text
    own = [(encode("no"), encode("yes it is"))] * len(some)
    written = _loss(parts, some, totals, own).seen
    assert written["critique"].item() == pytest.approx(given["critique"].item(), rel=1e-5)
    assert abs(written["score"].item() - given["score"].item()) > 1e-4
    assert written["unfinished"].item() == 0.0


def test_an_unfinished_critique_of_its_own_gives_no_score(
    parts: Parts, pairs: list[EncodedPair]
) -> None:
    """The pair is left out of the score loss and counted; its true critiques are still learned."""
    some = [pair for pair in pairs[:3] if pair.learns_critiques]
    totals = count(some)
    encode = parts.encoder.builder.renderer.encode_user_text
    whole = [(encode("no"), encode("yes"))] * len(some)
    cut: list[Any] = [(None, encode("yes")), *whole[1:]]
    one = _loss(parts, some, totals, cut).seen
    rest = _loss(parts, some[1:], totals, whole[1:]).seen
    assert one["unfinished"].item() == pytest.approx(1 / len(some))
    assert one["score"].item() == pytest.approx(rest["score"].item(), rel=1e-5)
    nothing: list[Any] = [(None, None)] * len(some)
    assert _loss(parts, some, totals, nothing).seen["score"].item() == 0.0
