"""The scorer the engine is compared with, on tiny checkpoints of every family."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from mmreward_trainer.transformers_scorer import TransformersScorer
from tiny_models import TinyOptions, build_tiny_checkpoint, gradient, noise
from tiny_models.build import Family

IMAGES = [[noise(0)], [noise(1, 120, 80)], [noise(2), noise(3)], [gradient(5)]]
PROMPTS = ["q", "what is this?", "two", "x"]
RESPONSES = ["a", "b", "c d", "e"]


@pytest.mark.parametrize("family", get_args(Family))
def test_batch_scores_as_each_item_alone(family: Family, tmp_path: Path) -> None:
    """Padding and company change neither critiques nor scores; placeholders are expanded."""
    build_tiny_checkpoint(tmp_path, family, TinyOptions())
    scorer = TransformersScorer(tmp_path)
    together = scorer.critique(IMAGES, PROMPTS, RESPONSES)
    for image, prompt, response, batched in zip(IMAGES, PROMPTS, RESPONSES, together, strict=True):
        [alone] = scorer.critique([image], [prompt], [response])
        assert alone.token_ids == batched.token_ids
        assert alone.score == pytest.approx(batched.score, abs=1e-5)


def test_score_is_read_where_the_checkpoint_says(tmp_path: Path) -> None:
    """Written and given critiques have one score at each read-out; the two read-outs differ."""
    scores = {}
    for read_out in ("last_critique_token", "after_turn"):
        folder = tmp_path / read_out
        build_tiny_checkpoint(folder, "qwen2_5_vl", TinyOptions(read_out=read_out))
        scorer = TransformersScorer(folder)
        [written] = scorer.critique(IMAGES[:1], PROMPTS[:1], RESPONSES[:1])
        ids = scorer.renderer.render(prompt=PROMPTS[0], response=RESPONSES[0], images=1)
        after = scorer.renderer.after_turn_ids if read_out == "after_turn" else []
        [read] = scorer.read([ids + written.token_ids + after], IMAGES[:1])
        assert read == pytest.approx(written.score, abs=1e-6)
        scores[read_out] = read
    assert abs(scores["after_turn"] - scores["last_critique_token"]) > 1e-3


def test_unfinished_critique_has_no_score(tmp_path: Path) -> None:
    """At the token limit there is no end of turn to read a score at."""
    options = TinyOptions(ending="never", max_critique_tokens=4)
    build_tiny_checkpoint(tmp_path, "qwen2_5_vl", options)
    [written] = TransformersScorer(tmp_path).critique(IMAGES[:1], PROMPTS[:1], RESPONSES[:1])
    assert written.score is None
    assert len(written.token_ids) == 4


def test_more_images_than_placeholders_are_refused(tmp_path: Path) -> None:
    """A picture that no placeholder stands for would silently be ignored."""
    build_tiny_checkpoint(tmp_path, "qwen2_5_vl", TinyOptions())
    scorer = TransformersScorer(tmp_path)
    ids = scorer.renderer.render(prompt="q", response="a", images=1)
    with pytest.raises(ValueError, match="placeholders"):
        scorer.read([ids], [[noise(0), noise(1)]])
