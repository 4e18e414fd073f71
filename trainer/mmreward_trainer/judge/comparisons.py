"""A pair in one order of its answers: the prompt as it is served, and what is learned after it.

The renderer is the service's own, so the ids here are those that the engine will see, and text of a
user that spells a special token stays text.
"""

from __future__ import annotations

from dataclasses import dataclass

from mmreward_service.reward.prompt import PromptRenderer

from mmreward_trainer.critique.sequences import Sequence


@dataclass(frozen=True)
class Comparison:
    """Two answers to a question about media, in the order in which a judge reads them.

    Attributes:
        chosen_first: whether the preferred answer is the first one.
        judgement: what the judge should write; None where nobody wrote one.
    """

    prompt: str
    first: str
    second: str
    images: int
    has_video: bool
    chosen_first: bool
    judgement: str | None


class ComparisonBuilder:
    """Builds the sequences of comparisons for one checkpoint's templates."""

    def __init__(self, renderer: PromptRenderer) -> None:
        self.renderer = renderer

    def prompt(self, comparison: Comparison) -> list[int]:
        """Up to where the judgement begins, with one placeholder per picture or video."""
        return self.renderer.render_judge(
            prompt=comparison.prompt,
            first=comparison.first,
            second=comparison.second,
            images=comparison.images,
            video=comparison.has_video,
        )

    def bare(self, comparison: Comparison) -> Sequence:
        """The prompt alone; nothing is learned."""
        ids = self.prompt(comparison)
        return Sequence(ids, len(ids), len(ids), None)

    def judgement(self, comparison: Comparison) -> Sequence:
        """The prompt and its judgement, which is learned with its end-of-turn.

        Raises:
            ValueError: a comparison without a judgement.
        """
        if comparison.judgement is None:
            raise ValueError("a comparison without a judgement")
        prompt = self.prompt(comparison)
        written = self.renderer.encode_user_text(comparison.judgement)
        ids = [*prompt, *written, self.renderer.end_of_turn_id]
        return Sequence(ids, len(prompt), len(ids), None)
