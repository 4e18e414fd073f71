"""What a caller sends: the request bodies of API version 1.

Two levels of strictness, on purpose. The envelope (this request as a whole) is checked here and
refused with an HTTP error. An item is only required to be an object: its own rules are checked
one by one by `parse_item`, so that one broken item is reported as `invalid` and the other 99 get
their scores.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Mode = Literal["generate", "given", "none"]
Kind = Literal["critique", "judge"]
Orders = Literal["both", "balanced"]
Aggregate = Literal["mean", "additive", "win_rate", "bradley_terry"]
Role = Literal["system", "user", "assistant"]

MAX_TEMPERATURE = 2.0
"""Above this the score slot's distance from the sampled logits is no longer proven."""


class Strict(BaseModel):
    """An unknown field is a typo until proven otherwise, and a typo must not change a reward."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Turn(Strict):
    """One message of a conversation, text only: the media belong to the first user turn."""

    role: Role
    content: Annotated[str, Field(min_length=1)]


class Video(Strict):
    """A video as its sampled frames, in order, with the rate they were sampled at."""

    frames: Annotated[list[str], Field(min_length=1)]
    fps: Annotated[float, Field(gt=0, le=1000)]


Prompt = Annotated[str, Field(min_length=1)] | Annotated[list[Turn], Field(min_length=1)]
Text = Annotated[str, Field(min_length=1)]


def _check_media_and_prompt(images: list[str], video: Video | None, prompt: Prompt) -> None:
    if images and video is not None:
        raise ValueError("give images or a video, not both")
    if isinstance(prompt, list) and not any(turn.role == "user" for turn in prompt):
        raise ValueError("prompt has no user turn")


class _MediaItem(Strict):
    id: str | None = None
    images: list[str] = []
    video: Video | None = None
    prompt: Prompt
    mode: Mode = "generate"

    @model_validator(mode="after")
    def _one_kind_of_media_and_a_user_turn(self) -> _MediaItem:
        _check_media_and_prompt(self.images, self.video, self.prompt)
        return self


class ScoreItem(_MediaItem):
    """One response to score. `critique` is the text that mode `given` scores."""

    response: Text
    critique: Text | None = None

    @model_validator(mode="after")
    def _critique_goes_with_given(self) -> ScoreItem:
        if (self.mode == "given") != (self.critique is not None):
            raise ValueError("critique is required in mode given, and only there")
        return self


class PairItem(_MediaItem):
    """Two responses to the same prompt, the first of them preferred."""

    chosen: Text
    rejected: Text
    chosen_critique: Text | None = None
    rejected_critique: Text | None = None

    @model_validator(mode="after")
    def _critiques_go_with_given(self) -> PairItem:
        critiques = (self.chosen_critique, self.rejected_critique)
        if (self.mode == "given") != all(c is not None for c in critiques):
            raise ValueError("chosen_critique and rejected_critique are required in mode given")
        if self.mode != "given" and any(c is not None for c in critiques):
            raise ValueError("chosen_critique and rejected_critique belong to mode given only")
        return self


class GroupItem(Strict):
    """Responses to one prompt that are compared with each other.

    An empty response is judged like any other: policies write them, and one must not cost its
    whole group the scores. `complete` says which responses are whole, one entry for each; the
    others take no part, as in the paper (Generative RLHF-V, arXiv 2505.18531, grouped comparison).
    """

    id: str | None = None
    images: list[str] = []
    video: Video | None = None
    prompt: Prompt
    responses: Annotated[list[str], Field(min_length=1)]
    complete: list[bool] | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> GroupItem:
        _check_media_and_prompt(self.images, self.video, self.prompt)
        whole = self.complete if self.complete is not None else [True] * len(self.responses)
        if len(whole) != len(self.responses):
            raise ValueError(
                f"complete has {len(whole)} entries for {len(self.responses)} responses"
            )
        if sum(whole) < 2:
            raise ValueError(
                f"{sum(whole)} complete of {len(whole)} responses: a comparison needs two"
            )
        return self


class Beta(Strict):
    """Constants of MM-DPO's dynamic beta (MM-RLHF, arXiv 2502.10391, section on MM-DPO)."""

    beta0: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.1
    w: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    k: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.5
    basis: Literal["raw", "calibrated"] = "raw"


class _Envelope(Strict):
    model: str | None = None
    media: dict[str, str] = {}
    items: Annotated[list[Any], Field(min_length=1)]
    critiques: Annotated[int, Field(ge=1)] = 1
    temperature: Annotated[float, Field(ge=0, le=MAX_TEMPERATURE, allow_inf_nan=False)] | None = (
        None
    )
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    max_critique_tokens: Annotated[int, Field(ge=1)] | None = None
    deadline_ms: Annotated[int, Field(ge=1)] | None = None
    pin: str | None = None

    @model_validator(mode="after")
    def _rules_between_fields(self) -> _Envelope:
        if self.critiques > 1 and self.temperature == 0:
            raise ValueError("critiques > 1 at temperature 0 would be the same critique again")
        if any(key.startswith("data:") for key in self.media):
            raise ValueError("a key of media must not start with 'data:'")
        return self

    @property
    def sampling_temperature(self) -> float:
        """Null means greedy for one critique and 1 for several."""
        if self.temperature is not None:
            return self.temperature
        return 0.0 if self.critiques == 1 else 1.0


class ScoreRequest(_Envelope):
    """Body of `POST /v1/score`."""


class PairsRequest(_Envelope):
    """Body of `POST /v1/pairs`.

    `kind` chooses where a checkpoint is both: null means critique, or judge where it is that alone.
    """

    beta: Beta = Beta()
    kind: Kind | None = None


class GroupsRequest(_Envelope):
    """Body of `POST /v1/groups`.

    `comparisons` K gives every response K opponents, its neighbours in a ring. `critiques` K
    samples every comparison K times and takes the mean of its good scores.
    """

    orders: Orders = "both"
    comparisons: Literal["all"] | Annotated[int, Field(ge=1)] = "all"
    aggregate: Aggregate = "mean"


class GetRewardRequest(BaseModel):
    """Body of `POST /get_reward`, the shape OpenRLHF's remote reward client sends.

    Unknown fields are tolerated here: that client has grown some between its versions.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    query: Annotated[list[str], Field(min_length=1)]
    prompts: Annotated[list[str], Field(min_length=1)]
    labels: list[Any] | None = None

    @model_validator(mode="after")
    def _same_length(self) -> GetRewardRequest:
        if len(self.query) != len(self.prompts):
            raise ValueError("query and prompts must have the same length")
        return self


ItemT = TypeVar("ItemT", bound=BaseModel)


def parse_item(kind: type[ItemT], raw: object) -> ItemT | str:
    """Check one item; a broken one comes back as a sentence that names the field."""
    if not isinstance(raw, dict):
        return f"item is {type(raw).__name__}, expected an object"
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        return describe(error)


def describe(error: ValidationError) -> str:
    """One line per broken field; the offending value is left out, it may hold an image."""
    lines = []
    for detail in error.errors(include_url=False, include_input=False, include_context=False):
        where = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{where}: {message}" if where else message)
    return "; ".join(lines)
