"""A digit model judges comparisons: the texts it writes, and the scores parsed out of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from mmreward_service.reward.judgement import Scores, Unparsed, parse_scores
from mmreward_service.reward.prompt import PromptRenderer

from mmreward_trainer.digits.batches import (
    Item,
    encode_pictures,
    group_pictures,
    render_pictures,
)
from mmreward_trainer.digits.generation import write_critiques
from mmreward_trainer.digits.pairs import Pair
from mmreward_trainer.digits.scoring import DigitModel
from mmreward_trainer.digits_judge.groups import Comparison
from mmreward_trainer.digits_judge.qualities import HIGHEST, LOWEST

MAX_JUDGEMENT_TOKENS = 160
SCORE_RANGE = (float(LOWEST), float(HIGHEST))
_CHUNK = 384


@dataclass(frozen=True)
class Judgement:
    """What the judge wrote about a comparison; scores are None where the status is not ok."""

    comparison: Comparison
    text: str
    tokens: int
    status: Literal["ok", "unparsed", "truncated"]
    scores: Scores | None


def make_judge_items(
    renderer: PromptRenderer, image_token: int, comparisons: list[Comparison], rows: list[int]
) -> list[Item]:
    """Prompts of comparisons, rendered as the service renders; `rows` are their pictures' rows."""
    items = []
    for comparison, row in zip(comparisons, rows, strict=True):
        ids = renderer.render_judge(
            prompt=comparison.pair.prompt,
            first=comparison.first.text,
            second=comparison.second.text,
            images=1,
        )
        at, cells = ids.index(image_token), len(comparison.pair.cells)
        items.append(Item(ids[:at] + [image_token] * cells + ids[at + 1 :], row, cells))
    return items


def pictures_of(comparisons: list[Comparison]) -> tuple[list[Pair], list[int]]:
    """The different pairs whose pictures are looked at, and which of them each comparison needs."""
    places: dict[int, int] = {}
    pairs: list[Pair] = []
    rows = []
    for comparison in comparisons:
        if id(comparison.pair) not in places:
            places[id(comparison.pair)] = len(pairs)
            pairs.append(comparison.pair)
        rows.append(places[id(comparison.pair)])
    return pairs, rows


@torch.inference_mode()
def judge(
    digit_model: DigitModel,
    comparisons: list[Comparison],
    *,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> list[Judgement]:
    """One judgement of every comparison, in their order; greedy at temperature 0."""
    judged: list[Judgement] = []
    renderer = digit_model.renderer
    for start in range(0, len(comparisons), _CHUNK):
        chunk = comparisons[start : start + _CHUNK]
        pairs, rows = pictures_of(chunk)
        features = encode_pictures(
            digit_model.model.model.visual, group_pictures(render_pictures(pairs))
        )
        written = write_critiques(
            digit_model.model, digit_model.head,
            make_judge_items(renderer, digit_model.image_token, chunk, rows), features,
            end_of_turn=renderer.end_of_turn_id, tokenizer_size=renderer.tokenizer_size,
            temperature=temperature, generator=generator, max_tokens=MAX_JUDGEMENT_TOKENS,
        )  # fmt: skip
        for comparison, [one] in zip(chunk, written, strict=True):
            text = renderer.decode(one.token_ids)
            judged.append(
                read_judgement(comparison, text, len(one.token_ids), finished=one.score is not None)
            )
    return judged


def read_judgement(comparison: Comparison, text: str, tokens: int, *, finished: bool) -> Judgement:
    """Status and scores of a text, as the service reads it; a text cut off has no scores."""
    if not finished:
        return Judgement(comparison, text, tokens, "truncated", None)
    scores = parse_scores(text, SCORE_RANGE)
    if isinstance(scores, Unparsed):
        return Judgement(comparison, text, tokens, "unparsed", None)
    return Judgement(comparison, text, tokens, "ok", scores)
