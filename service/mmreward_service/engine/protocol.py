"""What the pipeline needs from an engine, and the words it is said in.

Three calls: `critique` writes K critiques of one prompt and reads a score for each; `read` reads
one score at the end of a prompt that is complete; `write` writes K texts and reads no score, for a
judge whose scores are in its text. What goes wrong with one critique is a status of its Reading;
what goes wrong with a whole request is an EngineError:

    EngineError
    ├── EngineDead      the engine will not answer any more
    ├── PromptTooLong   prompt (and room to write) exceed the model's length
    └── ImageRefused    the model's image processor will not take this picture or video
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from mmreward_client.schema import CritiqueStatus
from PIL import Image

from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec


class EngineError(Exception):
    """A request that the engine could not serve."""


class EngineDead(EngineError):
    """The engine has stopped: no request will be served until a restart."""


class PromptTooLong(EngineError):
    """The prompt, or the prompt plus the room for the critique, exceeds the model's length."""


class ImageRefused(EngineError):
    """The model's processor refused the picture or video."""


@dataclass(frozen=True)
class Media:
    """Decoded pictures of one item, RGB, in order; with `fps` they are the frames of one video.

    `hashes`, one per picture, name its content, so that an engine can recognise a picture that
    it has encoded before.
    """

    images: tuple[Image.Image, ...] = ()
    hashes: tuple[str, ...] = ()
    fps: float | None = None

    @property
    def is_video(self) -> bool:
        return self.fps is not None


@dataclass(frozen=True)
class CritiqueJob:
    """Write `critiques` texts after the prompt; `critique` reads a score for each, `write` none.

    `priority` orders what waits in the engine, lowest first; equal ones in order of arrival.
    """

    prompt_token_ids: list[int]
    media: Media
    max_tokens: int
    critiques: int = 1
    temperature: float = 0.0
    seed: int | None = None
    priority: int = 0


@dataclass(frozen=True)
class ReadJob:
    """Read the score at the last token of the prompt; `priority` as of a CritiqueJob."""

    prompt_token_ids: list[int]
    media: Media
    priority: int = 0


@dataclass(frozen=True)
class Reading:
    """One text and its score, a number if and only if the status is ok and one was asked for."""

    status: CritiqueStatus
    score: float | None = None
    text: str | None = None
    tokens: int = 0
    finish_reason: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class TokenUsage:
    """Tokens of one job; cached tokens are part of the prompt tokens."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: TokenUsage) -> TokenUsage:
        return TokenUsage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True)
class Outcome:
    """What a job came to: one Reading per critique asked for, in order."""

    readings: list[Reading]
    usage: TokenUsage = field(default_factory=TokenUsage)


class Engine(Protocol):
    """One model being served. Cancelling a call aborts its request inside the engine."""

    @property
    def model_name(self) -> str: ...

    @property
    def spec(self) -> RewardSpec: ...

    @property
    def renderer(self) -> PromptRenderer: ...

    @property
    def max_model_len(self) -> int: ...

    @property
    def provenance(self) -> dict[str, Any]:
        """What the scores depend on, `fingerprint` among it."""
        ...

    @property
    def tokens_done(self) -> float:
        """Tokens computed so far, those of unfinished texts among them: a sign of work."""
        ...

    async def start(self) -> None:
        """Load the model; returns when it can serve."""
        ...

    async def close(self) -> None: ...

    async def check(self) -> None:
        """Raise EngineDead if the engine cannot serve any more."""
        ...

    async def critique(self, job: CritiqueJob) -> Outcome: ...

    async def read(self, job: ReadJob) -> Outcome: ...

    async def write(self, job: CritiqueJob) -> Outcome:
        """Texts without scores: status ok says that the text was finished."""
        ...
