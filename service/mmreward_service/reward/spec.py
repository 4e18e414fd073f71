"""The `reward` object of a checkpoint's config.json: everything a score depends on beside weights.

The service needs nothing beyond the checkpoint folder; so the prompt templates, the place where the
score is read, the calibration and the golden scores all travel in it.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

Kind = Literal["critique", "judge"]
ReadOut = Literal["last_critique_token", "after_turn"]
Mode = Literal["generate", "given", "none"]
TemplateName = Literal["critique", "none", "judge", "turn"]
Join = Literal["pieces", "runs"]

_PLACEHOLDER = re.compile(r"\{([a-z_]+)\}")


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class HeadSpec(_Spec):
    """Shape of the reward head.

    `tanh` is the MM-RLHF head (arXiv 2502.10391; its code: dropout, dense, tanh, dropout, dense),
    `silu` two layers with SiLU (best of the head ablation of BaseReward, arXiv 2509.16127),
    `linear` one layer. `inner_size` null means the hidden size of the model.
    """

    type: Literal["tanh", "silu", "linear"]
    inner_size: Annotated[int, Field(ge=1)] | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Templates(_Spec):
    """Prompt texts. Special tokens are recognised here and nowhere else.

    `critique` ends where the model starts to write; `none` is the prompt of a score without a
    critique (null: `critique`, read at its last token). Both hold each of {media}, {prompt} and
    {response} once. `judge` ends where the judge starts to write and holds {media}, {prompt},
    {first} and {second}: with the two answers at its end, all comparisons of a group begin alike
    and the engine computes that beginning once. `image` and `video` hold the model's placeholder
    token once; the engine expands it to the size of the picture. `turn` writes one message of a
    conversation.

    `join` tells what is tokenised as one text: each piece of the template and each text of a
    caller by itself (`pieces`), or all that stands between two special tokens of the template
    (`runs`), which gives the ids of a model that was trained on whole strings. `reward.prompt`
    has the details.
    """

    critique: str | None = None
    none: str | None = None
    judge: str | None = None
    image: str
    video: str
    turn: str = "{role}: {content}\n"
    end_of_turn: str
    after_turn: str
    join: Join = "pieces"

    @model_serializer(mode="wrap")
    def _without_default_join(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Checkpoints and fingerprints from before `join` stay what they are."""
        dumped: dict[str, Any] = dump(self)
        if self.join == "pieces":
            dumped.pop("join", None)
        return dumped

    @model_validator(mode="after")
    def _placeholders(self) -> Templates:
        required = {
            "critique": ["media", "prompt", "response"],
            "none": ["media", "prompt", "response"],
            "judge": ["media", "prompt", "first", "second"],
            "turn": ["role", "content"],
            "image": [],
            "video": [],
            "end_of_turn": [],
            "after_turn": [],
        }
        for name, placeholders in required.items():
            text = getattr(self, name)
            if text is None:
                continue
            found = _PLACEHOLDER.findall(text)
            for placeholder in placeholders:
                if placeholder not in found:
                    raise ValueError(f"template {name!r} lacks the placeholder {{{placeholder}}}")
            if sorted(found) != sorted(placeholders):
                extra = sorted(set(found) - set(placeholders)) or "one of them more than once"
                raise ValueError(f"template {name!r} has placeholders it must not have: {extra}")
        return self

    def segments(self, name: TemplateName) -> list[tuple[str, bool]]:
        """The template as (text, is_placeholder) pieces, in order; none for a missing template."""
        text = self.critique if name == "none" and self.none is None else getattr(self, name)
        pieces = _PLACEHOLDER.split(text or "")
        return [(piece, bool(i % 2)) for i, piece in enumerate(pieces) if piece]


class Calibration(_Spec):
    """From delta to a probability, fitted on validation pairs: `reward.margin` holds the formula.

    It holds for one kind, one mode and one number of critiques. `temperature` is always there:
    the calibrated delta is delta / temperature. With the method `isotonic` the probability alone
    comes from `knots`, (|delta|, probability) for the positive half: P(-delta) = 1 - P(delta) is
    then true by construction, and P(0) = 1/2.

    Attributes:
        interval_95: of the temperature.
        errors: pairs on the wrong side, which are what a fit rests on.
        overlap_checked: no pair was among the training rows; false: that could not be looked up.
    """

    kind: Kind = "critique"
    mode: Mode
    critiques: Annotated[int, Field(ge=1)] = 1
    method: Literal["temperature", "isotonic"] = "temperature"
    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    knots: Annotated[list[tuple[float, float]], Field(max_length=10_000)] | None = None
    interval_95: tuple[float, float]
    errors: Annotated[int, Field(ge=1)]
    pairs: Annotated[int, Field(ge=1)]
    overlap_checked: bool = False

    @property
    def key(self) -> tuple[Kind, Mode, int]:
        """The way of scoring that it holds for; a checkpoint has one calibration for each."""
        return self.kind, self.mode, self.critiques

    @model_validator(mode="after")
    def _a_monotone_map(self) -> Calibration:
        low, high = self.interval_95
        if not 0 <= low <= high < math.inf:
            raise ValueError(f"interval_95 {[low, high]} is no interval of temperatures")
        if (self.knots is not None) != (self.method == "isotonic"):
            raise ValueError("knots belong to the method isotonic, and to no other")
        if self.knots is None:
            return self
        if not self.knots:
            raise ValueError("isotonic needs at least one knot")
        before, floor = 0.0, 0.5
        for place, (size, probability) in enumerate(self.knots):
            if not before < size < math.inf:
                raise ValueError(f"knots[{place}]: |delta| {size} does not rise from {before}")
            # One is a claim that no sample supports: its log loss at the next error is infinite.
            if not floor <= probability < 1.0:
                raise ValueError(
                    f"knots[{place}]: probability {probability} is not from {floor} to below 1"
                )
            before, floor = size, probability
        return self


class GoldenItem(_Spec):
    """An item whose score is known from the trainer: the service checks itself against it.

    The critique is given, not written, so that the check is about the score alone. `image` is a
    PNG data URI.
    """

    image: str
    prompt: str
    response: str
    critique: str
    score: Annotated[float, Field(allow_inf_nan=False)]


class RewardSpec(_Spec):
    """The whole `reward` object.

    Attributes:
        head: null for a judge alone, whose scores are in its text; then there is no slot either.
        max_judgement_tokens: room for a judgement; null: as for a critique.
        score_range: lowest and highest score of a judgement; what lies outside is unparsed.
    """

    format: Literal[1] = 1
    kinds: Annotated[list[Kind], Field(min_length=1)]
    head: HeadSpec | None = None
    read_out: ReadOut = "last_critique_token"
    score_slot: Annotated[int, Field(ge=1)] | None = None
    templates: Templates
    max_critique_tokens: Annotated[int, Field(ge=1)]
    max_judgement_tokens: Annotated[int, Field(ge=1)] | None = None
    score_range: tuple[float, float] | None = None
    calibration: list[Calibration] = []
    golden: list[GoldenItem] = []
    training_rows: dict[str, Any] = {}
    trainer_version: str

    @model_validator(mode="after")
    def _has_what_its_kinds_need(self) -> RewardSpec:
        if "critique" in self.kinds:
            if self.head is None or self.score_slot is None:
                raise ValueError("kind critique needs head and score_slot")
            if self.templates.critique is None:
                raise ValueError("kind critique needs the template 'critique'")
        elif self.head is not None or self.score_slot is not None:
            raise ValueError("head and score_slot belong to kind critique")
        if "judge" in self.kinds and self.templates.judge is None:
            raise ValueError("kind judge needs the template 'judge'")
        if self.score_range is not None and not self.score_range[0] < self.score_range[1]:
            raise ValueError(f"score_range {list(self.score_range)} is empty")
        return self

    def max_tokens(self, kind: Kind) -> int:
        """Room for what a model of that kind writes."""
        if kind == "judge" and self.max_judgement_tokens is not None:
            return self.max_judgement_tokens
        return self.max_critique_tokens

    @field_validator("calibration")
    @classmethod
    def _one_for_each_way(cls, listed: list[Calibration]) -> list[Calibration]:
        keys = [one.key for one in listed]
        if twice := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"more than one calibration for (kind, mode, critiques) {twice}")
        return listed

    def find_calibration(
        self, mode: Mode, critiques: int, kind: Kind = "critique"
    ) -> Calibration | None:
        """The map fitted for exactly this way of scoring, or None: there is no near enough."""
        for one in self.calibration:
            if one.key == (kind, mode, critiques):
                return one
        return None
