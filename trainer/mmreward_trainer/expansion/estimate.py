"""What a run will ask for, before anything is sent.

Prompt tokens of text are counted with the tokenizer that the user names; without one they are
estimated as one token per four bytes of UTF-8, the usual rule for English. Eight per request are
added for the form of a chat. How many tokens a picture is depends on the model and its size:
pictures are counted only if the user says how many tokens one is. Completion tokens are a bound:
what is asked for at most. Costs are these numbers times the prices that the user gives; without
prices there are none. All of it is before repetitions, which endpoints mostly do not charge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmreward_client.errors import InvalidInput

from mmreward_trainer.expansion.journal import Journal
from mmreward_trainer.expansion.requests import SIDES, Request, reason, requests_of
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.source import Source, row_pairs

CountTokens = Callable[[str], int]

BYTES_PER_TOKEN = 4
TOKENS_PER_REQUEST = 8


@dataclass(frozen=True)
class Prices:
    """Per million tokens, in the user's currency; None is unknown, never zero."""

    prompt: float | None = None
    completion: float | None = None


@dataclass
class Estimate:
    """Counts of one pass over the source.

    Attributes:
        rows, pairs: rows of the source, and those that can be used.
        bad, missing_images: rows that the policies leave out.
        pairs_without_reasons: pass through unchanged.
        comments: reasons to expand, one or two per pair.
        distinct: different requests among them.
        answered: of these, with an answer in the journal, good or not.
        requests: of these, to be sent by this run.
        held_back: of these, over the limit of requests.
    """

    rows: int = 0
    pairs: int = 0
    bad: int = 0
    missing_images: int = 0
    pairs_without_reasons: int = 0
    comments: int = 0
    distinct: int = 0
    answered: int = 0
    requests: int = 0
    held_back: int = 0
    prompt_tokens: int = 0
    prompt_tokens_by: str = ""
    pictures: int = 0
    tokens_per_picture: int | None = None
    completion_tokens_at_most: int = 0
    prices: Prices = Prices()

    @property
    def prompt_cost(self) -> float | None:
        """None without a price, and where pictures of unknown size would be missing in it."""
        if self.prices.prompt is None or self.leaves_out_pictures:
            return None
        return self.prompt_tokens * self.prices.prompt / 1e6

    @property
    def completion_cost_at_most(self) -> float | None:
        if self.prices.completion is None:
            return None
        return self.completion_tokens_at_most * self.prices.completion / 1e6

    @property
    def leaves_out_pictures(self) -> bool:
        return self.pictures > 0 and self.tokens_per_picture is None

    def resolved(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return {
            **asdict(self),
            "prompt_cost": self.prompt_cost,
            "completion_cost_at_most": self.completion_cost_at_most,
        }


@dataclass(frozen=True)
class Tokens:
    """How prompts are counted."""

    count: CountTokens
    by: str
    per_picture: int | None = None

    def of(self, request: Request, settings: Settings) -> int:
        pictures = len(request.pictures) * (self.per_picture or 0)
        return self.count(request.prompt(settings)) + TOKENS_PER_REQUEST + pictures


def by_bytes(text: str) -> int:
    size_bytes = len(text.encode("utf-8", "surrogatepass"))
    return -(-size_bytes // BYTES_PER_TOKEN)


def tokens_by(folder: Path | None, per_picture: int | None = None) -> Tokens:
    """Counting by the tokenizer of a local folder, or by bytes if there is none.

    Raises:
        InvalidInput: no tokenizer is in the folder. It is never fetched.
    """
    if folder is None:
        return Tokens(by_bytes, f"one per {BYTES_PER_TOKEN} bytes of text", per_picture)
    from transformers import AutoTokenizer

    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{folder} holds no tokenizer: {error}") from error

    def count(text: str) -> int:
        return len(tokenizer(text, add_special_tokens=False).input_ids)

    return Tokens(count, f"the tokenizer in {folder.name}", per_picture)


@dataclass(frozen=True)
class Selection:
    """Which of the open requests a run sends.

    Attributes:
        max_requests: at most so many, the first in the order of the file; None: all.
        ask_again: also those whose answer was a failure.
    """

    max_requests: int | None = None
    ask_again: bool = False


def estimate(
    source: Source,
    settings: Settings,
    journal: Journal,
    selection: Selection,
    tokens: Tokens,
    prices: Prices = Prices(),
) -> tuple[Estimate, Request | None]:
    """The counts, and the first request that would be sent (None: there is none).

    Raises:
        BadRowError, MissingImageError, OSError, InvalidInput: as the reader of the source.
    """
    found = Estimate(
        prompt_tokens_by=tokens.by, tokens_per_picture=tokens.per_picture, prices=prices
    )
    first: Request | None = None
    seen: set[str] = set()
    reader = source.reader()
    for pair in row_pairs(reader):
        found.pairs_without_reasons += all(reason(pair, side) is None for side in SIDES)
        for request in requests_of(pair, settings):
            found.comments += 1
            if request.key in seen:
                continue
            seen.add(request.key)
            if not journal.is_open(request.key, ask_again=selection.ask_again):
                found.answered += 1
            elif found.requests == selection.max_requests:
                found.held_back += 1
            else:
                first = first or request
                found.requests += 1
                found.prompt_tokens += tokens.of(request, settings)
                found.pictures += len(request.pictures)
    found.distinct = len(seen)
    found.completion_tokens_at_most = found.requests * settings.max_completion_tokens
    summary = reader.summary
    found.rows, found.pairs = summary.rows, summary.pairs
    found.bad, found.missing_images = summary.bad, summary.missing_images
    return found, first
