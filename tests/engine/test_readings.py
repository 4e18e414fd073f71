"""What the engine concludes from vLLM's outputs, on vLLM's own output types."""

from __future__ import annotations

import math

import pytest
from mmreward_service.engine.vllm.readings import Reader
from mmreward_service.reward.slot import SLOT_OFFSET
from vllm.logprobs import FlatLogprobs
from vllm.outputs import CompletionOutput

SLOT, END, OTHER_END = 500, 7, 8


@pytest.fixture
def reader() -> Reader:
    return Reader(slot=SLOT, end_of_turn_id=END, decode=lambda ids: " ".join(map(str, ids)))


def rows(tokens: list[int], scores: list[float]) -> FlatLogprobs:
    """Rows as vLLM builds them for logprob_token_ids: the sampled token, then the slot."""
    flat = FlatLogprobs()
    for token, score in zip(tokens, scores, strict=True):
        flat.append_fast([token, SLOT], [1.0, score - SLOT_OFFSET], iter([1, 1]), [None, None])
    return flat


def completion(
    tokens: list[int], logprobs: FlatLogprobs | None, finish_reason: str | None = "stop"
) -> CompletionOutput:
    return CompletionOutput(
        index=0,
        text="",
        token_ids=tokens,
        cumulative_logprob=None,
        logprobs=logprobs,
        finish_reason=finish_reason,
    )


def test_score_is_the_one_of_the_step_that_ended_the_turn(reader):
    """Of four rows the last one counts, and the text is what came before end-of-turn."""
    tokens = [1, 2, 3, END]
    reading = reader.critique(completion(tokens, rows(tokens, [9.0, 8.0, 7.0, 0.5])))
    assert (reading.status, reading.score, reading.text, reading.tokens) == ("ok", 0.5, "1 2 3", 4)


@pytest.mark.parametrize("missing", [1, 3, 4])
def test_missing_rows_are_internal_and_no_neighbour_is_taken(reader, missing):
    """Fewer rows than tokens means that steps were dropped: no score at all, but the text."""
    tokens = [1, 2, 3, END]
    kept = 4 - missing
    flat = rows(tokens[:kept], [1.0] * kept)
    reading = reader.critique(completion(tokens, flat))
    assert (reading.status, reading.score, reading.text) == ("internal", None, "1 2 3")
    assert f"{kept} score rows for 4 tokens" in reading.error


def test_surplus_rows_are_internal(reader):
    """More rows than tokens is the same fault from the other side."""
    reading = reader.critique(completion([1, END], rows([1, 2, END], [1.0] * 3)))
    assert (reading.status, reading.score) == ("internal", None)


def test_reply_without_rows_is_internal(reader):
    """An engine that dropped the request for rows does not get away with it."""
    assert reader.critique(completion([1, END], None)).status == "internal"
    assert reader.score_only(completion([1], None, "length")).status == "internal"


def test_row_without_the_slot_is_internal(reader):
    """A last row that lacks the slot is not replaced by the row before."""
    flat = rows([1], [1.0])
    flat.append_fast([END], [1.0], iter([1]), [None])
    reading = reader.critique(completion([1, END], flat))
    assert (reading.status, reading.score) == ("internal", None)


def test_slot_among_the_tokens_is_internal(reader):
    """Should the slot ever be sampled, the critique is worthless and is said to be."""
    tokens = [1, SLOT, END]
    assert reader.critique(completion(tokens, rows(tokens, [1.0] * 3))).status == "internal"


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_score_that_is_no_number_is_not_finite(reader, score):
    """The text stays, the number does not."""
    reading = reader.critique(completion([1, END], rows([1, END], [1.0, score])))
    assert (reading.status, reading.score, reading.text) == ("not_finite", None, "1")


def test_end_by_length_is_truncated_whatever_the_rows_say(reader):
    """The last row of a cut critique is not the score of a critique."""
    reading = reader.critique(completion([1, 2], rows([1, 2], [1.0, 2.0]), "length"))
    assert (reading.status, reading.score, reading.text) == ("truncated", None, "1 2")


@pytest.mark.parametrize("tokens", [[END], [END + 1]])
def test_turn_without_words_or_with_another_end_is_unparsed(reader, tokens):
    """Nothing before end-of-turn, or a stop by some other token."""
    assert reader.critique(completion(tokens, rows(tokens, [1.0]))).status == "unparsed"


@pytest.mark.parametrize("reason", ["abort", "error", None])
def test_early_stop_of_the_engine_is_internal(reader, reason):
    """A request that the engine gave up has no score."""
    tokens = [1, END]
    reading = reader.critique(completion(tokens, rows(tokens, [1.0, 1.0]), reason))
    assert (reading.status, reading.score) == ("internal", None)


def test_one_token_request_is_read_from_its_single_row(reader):
    """Neither its token nor how it ended matters."""
    reading = reader.score_only(completion([3], rows([3], [-1.25]), "length"))
    assert (reading.status, reading.score) == ("ok", -1.25)
    two = reader.score_only(completion([3, 4], rows([3, 4], [1.0, 1.0]), "length"))
    assert (two.status, two.score) == ("internal", None)
