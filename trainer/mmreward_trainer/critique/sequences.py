"""A pair as token sequences: what the model reads, what it learns to write, where it is scored.

Prompts come from the renderer that serves, so a sequence here is token by token what the engine
will see. A critique is learned up to and including its end-of-turn. Of the prompt nothing is: the
released MM-RLHF code also learns the chat template's own tokens, which we leave out.

A critique's tokens follow those of the prompt also where the templates are joined in runs, because
that is how the model writes one. (`given` tokenises both as one text there, which is the same
unless the critique begins with a blank or a line break.) Two prompts may then share a token less
than their texts share characters; packing goes by the tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mmreward_service.reward.prompt import PromptRenderer

Side = Literal["chosen", "rejected"]
SIDES: tuple[Side, Side] = ("chosen", "rejected")


@dataclass(frozen=True)
class Sequence:
    """One token sequence, with one placeholder token per picture or video.

    Attributes:
        ids: prompt, then the critique if there is one, then what the read-out needs after it.
        learned_from, learned_to: the tokens ids[learned_from:learned_to] are learned.
        read_at: the score is read from the state of ids[read_at]; None reads no score.
    """

    ids: list[int]
    learned_from: int
    learned_to: int
    read_at: int | None

    def shifted(self, offset: int, ids: list[int]) -> Sequence:
        """The same sequence after its placeholders grew by `offset` tokens, all in its prompt."""
        return Sequence(
            ids,
            self.learned_from + offset,
            self.learned_to + offset,
            None if self.read_at is None else self.read_at + offset,
        )


@dataclass(frozen=True)
class Answer:
    """One answer to a question about media, and the critique that somebody wrote of it."""

    prompt: str
    response: str
    images: int
    has_video: bool
    critique: str | None


class SequenceBuilder:
    """Builds the sequences of answers for one checkpoint's templates and read-out."""

    def __init__(self, renderer: PromptRenderer) -> None:
        self.renderer = renderer

    def critique(
        self,
        answer: Answer,
        critique_ids: list[int] | None = None,
        *,
        learn: bool = True,
        read: bool = True,
    ) -> Sequence:
        """The answer with a critique: the given ids, or the answer's own critique.

        Args:
            critique_ids: without end-of-turn, as the model wrote them.
        Raises:
            ValueError: neither ids nor a critique.
        """
        if critique_ids is None:
            if answer.critique is None:
                raise ValueError("an answer without a critique")
            critique_ids = self.renderer.encode_user_text(answer.critique)
        prompt = self.prompt(answer)
        start, end = len(prompt), len(prompt) + len(critique_ids)
        if self.renderer.spec.read_out == "after_turn":
            after = self.renderer.after_turn_ids
            read_at = end + len(after) - 1
        else:
            after = [self.renderer.end_of_turn_id]
            # The state that predicts end-of-turn: that of the critique's last token.
            read_at = end - 1
        # Of what follows the critique only end-of-turn is learned.
        learned = (start, end + 1) if learn else (start, start)
        return Sequence([*prompt, *critique_ids, *after], *learned, read_at if read else None)

    def bare(self, answer: Answer) -> Sequence:
        """The answer without a critique (mode `none`)."""
        ids = self._render(answer, "none")
        return Sequence(ids, len(ids), len(ids), len(ids) - 1)

    def prompt(self, answer: Answer) -> list[int]:
        """Up to where the critique begins."""
        return self._render(answer, "generate")

    def _render(self, answer: Answer, mode: Literal["generate", "none"]) -> list[int]:
        return self.renderer.render(
            prompt=answer.prompt,
            response=answer.response,
            images=answer.images,
            video=answer.has_video,
            mode=mode,
        )
