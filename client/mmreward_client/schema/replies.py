"""What the service answers: the reply bodies of API version 1.

A number that could not be had is null and `error` says why; there is no default score anywhere.
Unknown fields are ignored on reading, so that an older client survives a newer service.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator

Status = Literal[
    "ok",
    "partial",
    "invalid",
    "unparsed",
    "truncated",
    "not_finite",
    "image_error",
    "too_long",
    "deadline",
    "overloaded",
    "internal",
]

CritiqueStatus = Literal["ok", "unparsed", "truncated", "not_finite", "internal"]


class Reply(BaseModel):
    """Numbers of a reply are finite: a NaN on the wire is a bug, not a reward."""

    model_config = ConfigDict(extra="ignore", frozen=True, allow_inf_nan=False)


class Critique(Reply):
    """One critique of one response and the score read from it."""

    text: str | None = None
    score: float | None = None
    status: CritiqueStatus = "ok"
    finish_reason: str | None = None
    tokens: int = 0
    error: str | None = None


class Scored(Reply):
    """Score of one response: the mean over its good critiques."""

    status: Status
    score: float | None = None
    score_stderr: float | None = None
    critiques_ok: int = 0
    critiques: list[Critique] = []
    error: str | None = None

    @model_validator(mode="after")
    def _a_failure_is_never_a_number(self) -> Scored:
        if (self.score is not None) != (self.status == "ok"):
            raise ValueError(f"status {self.status} with score {self.score}")
        return self


class ScoreResult(Scored):
    """One entry of `data` of `/v1/score`."""

    index: int
    id: str | None = None


class PairResult(Reply):
    """One entry of `data` of `/v1/pairs`; delta = score(chosen) - score(rejected)."""

    index: int
    id: str | None = None
    status: Status
    chosen: Scored | None = None
    rejected: Scored | None = None
    delta: float | None = None
    delta_stderr: float | None = None
    prob: float | None = None
    delta_calibrated: float | None = None
    beta: float | None = None
    orders: tuple[float, float] | None = None
    """Of a judge: delta with the chosen answer shown first, and with it shown second."""
    error: str | None = None

    @model_validator(mode="after")
    def _a_failure_is_never_a_number(self) -> PairResult:
        if (self.delta is not None) != (self.status == "ok"):
            raise ValueError(f"status {self.status} with delta {self.delta}")
        return self


class Comparison(Reply):
    """Two responses of a group, by their indices, as the judge saw them: first and second."""

    first: int
    second: int
    scores: tuple[float, float] | None = None
    critique: str | None = None
    status: Status = "ok"
    critiques_ok: int = 0
    tokens: int = 0
    error: str | None = None

    @model_validator(mode="after")
    def _a_failure_is_never_a_number(self) -> Comparison:
        if (self.scores is not None) != (self.status == "ok"):
            raise ValueError(f"status {self.status} with scores {self.scores}")
        return self


class GroupResult(Reply):
    """One entry of `data` of `/v1/groups`; `scores` and `scores_from` have one per response.

    `scores_from` counts the good comparisons that a score rests on; a response without any, or one
    that was not complete, has null and 0.
    """

    index: int
    id: str | None = None
    status: Status
    scores: list[float | None] = []
    scores_from: list[int] = []
    comparisons: list[Comparison] = []
    order_consistency: float | None = None
    error: str | None = None

    @model_validator(mode="after")
    def _a_failure_is_never_a_number(self) -> GroupResult:
        if len(self.scores) != len(self.scores_from):
            raise ValueError("scores and scores_from differ in length")
        for score, count in zip(self.scores, self.scores_from, strict=True):
            if (score is None) != (count == 0):
                raise ValueError(f"score {score} from {count} comparisons")
        if self.status not in ("ok", "partial") and any(s is not None for s in self.scores):
            raise ValueError(f"status {self.status} with scores")
        return self


class Usage(Reply):
    """Tokens of the whole request; cached tokens are part of the prompt tokens."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0


class Timings(Reply):
    """Seconds of the request by stage; the stages of different items overlap."""

    queue_s: float = 0.0
    decode_s: float = 0.0
    prompt_s: float = 0.0
    engine_s: float = 0.0
    total_s: float = 0.0


class Provenance(BaseModel):
    """What produced the numbers. `fingerprint` is what a caller pins."""

    model_config = ConfigDict(extra="allow", frozen=True)

    fingerprint: str


class _ListReply(Reply):
    object: Literal["list"] = "list"
    id: str
    model: str
    provenance: Provenance
    usage: Usage = Usage()
    timings: Timings = Timings()


class ScoreReply(_ListReply):
    data: list[ScoreResult]


class PairsReply(_ListReply):
    data: list[PairResult]


class GroupsReply(_ListReply):
    data: list[GroupResult]


class GetRewardReply(Reply):
    """OpenRLHF's shape: as many rewards as queries."""

    rewards: list[float]
    scores: list[float]
    extra_logs: dict[str, list[float]]


class ErrorDetail(BaseModel):
    """`type` is the machine-readable family, `code` the exact cause, `param` the field."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorReply(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    error: ErrorDetail
    request_id: str | None = None


class Limits(BaseModel):
    """Every limit a caller can run into, as `/v1/models` shows them."""

    model_config = ConfigDict(extra="allow", frozen=True)

    max_items: int
    max_critiques: int
    max_in_flight: int
    max_body_bytes: int
    max_image_bytes: int
    max_image_pixels: int
    max_images_per_item: int
    max_frames_per_item: int
    max_critique_tokens: int
    max_model_len: int


class ModelCard(BaseModel):
    """One model of `GET /v1/models`: OpenAI's fields and ours."""

    model_config = ConfigDict(extra="allow", frozen=True)

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "mmreward"
    kinds: list[str]
    modes: list[str]
    read_out: str
    calibration: list[dict[str, Any]] = []
    provenance: Provenance
    limits: Limits


class ModelList(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    object: Literal["list"] = "list"
    data: list[ModelCard]
