"""What vLLM returned for one critique -> a Reading. Pure: no engine, no vLLM import.

Every generated token must come with a row that holds the score slot. A missing row means that
something between model and reply has dropped or merged steps; the score of another step is never
taken instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mmreward_service.engine.protocol import Reading
from mmreward_service.reward.slot import read_slot


class Rows(Protocol):
    """The part of vLLM's FlatLogprobs that is read: one range of (id, logit) per step."""

    start_indices: list[int]
    end_indices: list[int]
    token_ids: list[int]
    logprobs: list[float]


class Completion(Protocol):
    """The part of vLLM's CompletionOutput that is read."""

    @property
    def token_ids(self) -> Sequence[int]: ...

    @property
    def logprobs(self) -> Any: ...

    @property
    def finish_reason(self) -> str | None: ...


@dataclass(frozen=True)
class Reader:
    """Reads the completions of one checkpoint."""

    slot: int | None
    end_of_turn_id: int
    decode: Callable[[Sequence[int]], str]

    def critique(self, completion: Completion) -> Reading:
        """Text and score of a critique read in the pass that wrote it.

        The last row is the step that emitted end-of-turn: its hidden state is that of the last
        critique token.
        """
        text = self.text(completion)
        if text.status != "ok":
            return text
        return self._with_score(text, completion)

    def text(self, completion: Completion) -> Reading:
        """The critique without its score: status ok means that there is something to score."""
        tokens = completion.token_ids
        written = tokens[:-1] if tokens and tokens[-1] == self.end_of_turn_id else tokens
        text = self.decode(written)

        def reading(status: Any, error: str | None) -> Reading:
            return Reading(
                status=status,
                text=text,
                tokens=len(tokens),
                finish_reason=completion.finish_reason,
                error=error,
            )

        if self.slot is not None and self.slot in tokens:
            return reading("internal", f"the score slot {self.slot} was sampled as a token")
        if completion.finish_reason == "length":
            return reading("truncated", f"no end of turn within {len(tokens)} tokens")
        if completion.finish_reason != "stop":
            return reading("internal", f"the engine stopped early: {completion.finish_reason}")
        if len(written) == len(tokens):
            return reading("unparsed", "the critique ended with another token than end-of-turn")
        if not text.strip():
            return reading("unparsed", "the model wrote no critique")
        return reading("ok", None)

    def score_only(self, completion: Completion) -> Reading:
        """The score of a one-token request: read at the last token of its prompt."""
        reading = Reading(status="ok", finish_reason=completion.finish_reason)
        if len(completion.token_ids) != 1:
            return _failed(reading, "internal", f"{len(completion.token_ids)} tokens, not one")
        return self._with_score(reading, completion)

    def _with_score(self, reading: Reading, completion: Completion) -> Reading:
        rows, count = completion.logprobs, len(completion.token_ids)
        found = 0 if rows is None else len(rows.start_indices)
        if found != count:
            return _failed(reading, "internal", f"{found} score rows for {count} tokens")
        value = None if self.slot is None else _slot_value(rows, count - 1, self.slot)
        if value is None:
            return _failed(reading, "internal", "the last row does not hold the score slot")
        score = read_slot(value)
        if score is None:
            return _failed(reading, "not_finite", "the reward head's score is not finite")
        return Reading(
            status="ok",
            score=score,
            text=reading.text,
            tokens=reading.tokens,
            finish_reason=reading.finish_reason,
        )


def _slot_value(rows: Rows, row: int, slot: int) -> float | None:
    for i in range(rows.start_indices[row], rows.end_indices[row]):
        if rows.token_ids[i] == slot:
            return rows.logprobs[i]
    return None


def _failed(reading: Reading, status: Any, error: str) -> Reading:
    return Reading(
        status=status,
        text=reading.text,
        tokens=reading.tokens,
        finish_reason=reading.finish_reason,
        error=error,
    )
