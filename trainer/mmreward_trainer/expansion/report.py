"""What the command says: the estimate before it asks, and the account afterwards.

Prompts, pictures and keys are in neither; what an endpoint said of a failure is in the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmreward_trainer.expansion.estimate import Estimate
from mmreward_trainer.expansion.sending import Sent
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.writing import OnFailure, Written


def estimate_lines(found: Estimate, settings: Settings, on_failure: OnFailure) -> Iterator[str]:
    """The estimate, a line for each thing that somebody pays for or loses."""
    yield f"{found.rows} rows: {found.pairs} pairs" + _left_out(found)
    yield (
        f"{found.comments} reasons to expand, {found.distinct} of them different; "
        f"{found.pairs_without_reasons} pairs without reasons pass through unchanged"
    )
    if found.answered:
        yield f"{found.answered} are answered already (in the journal) and not asked again"
    held_back = f"; {found.held_back} more are over --max-requests" if found.held_back else ""
    yield f"{found.requests} requests to {settings.base_url}, model {settings.model}{held_back}"
    if found.requests:
        yield from _token_lines(found, settings)
    yield f"where an expansion fails: {_POLICY[on_failure]}"


def _left_out(found: Estimate) -> str:
    parts = [
        f"{count} {name} left out"
        for count, name in ((found.bad, "bad rows"), (found.missing_images, "missing images"))
        if count
    ]
    return "".join(f", {part}" for part in parts)


def _token_lines(found: Estimate, settings: Settings) -> Iterator[str]:
    pictures = ""
    if found.tokens_per_picture is not None and found.pictures:
        pictures = f", {found.pictures} pictures at {found.tokens_per_picture}"
    elif found.pictures:
        pictures = f", without {found.pictures} pictures: see --tokens-per-picture"
    yield f"prompt: about {found.prompt_tokens:,} tokens ({found.prompt_tokens_by}{pictures})"
    yield (
        f"completion: at most {found.completion_tokens_at_most:,} tokens "
        f"({settings.max_completion_tokens} for each request)"
    )
    yield _cost_line(found)


def _cost_line(found: Estimate) -> str:
    prompt, completion = found.prompt_cost, found.completion_cost_at_most
    parts = []
    if prompt is not None:
        parts.append(f"about {_money(prompt)} for prompts")
    if completion is not None:
        parts.append(f"at most {_money(completion)} for completions")
    if prompt is not None and completion is not None:
        parts.append(f"at most {_money(prompt + completion)} in all")
    if not parts:
        return "cost: unknown without --price-input and --price-output"
    said = "cost, in the currency of the prices: " + ", ".join(parts)
    if found.prices.prompt is not None and found.leaves_out_pictures:
        said += "; prompts unknown, since the pictures' tokens are"
    return said


def summary_lines(sent: Sent, found: Estimate, journal: Path) -> Iterator[str]:
    """What was sent and used."""
    yield f"{sent.requests} requests answered{_named(sent.statuses)}"
    if sent.requests:
        yield f"used: {sent.prompt_tokens:,} prompt + {sent.completion_tokens:,} completion tokens"
        if sent.without_usage:
            yield f"{sent.without_usage} answers did not say how many tokens they used"
        cost = _used_cost(sent, found)
        if cost is not None:
            yield f"cost of these tokens at the given prices: {_money(cost)}"
    if sent.http_statuses:
        said = ", ".join(f"{count} HTTP {status}" for status, count in sent.http_statuses.items())
        yield f"refused by the endpoint: {said}; its reasons are in {journal}"


def written_lines(done: Written, on_failure: OnFailure) -> Iterator[str]:
    """What is in the file."""
    yield (
        f"{done.rows} rows in {done.path}: {done.expanded} reasons expanded, "
        f"{done.kept_original} kept as they were, "
        f"{done.rows_without_reasons} rows without reasons"
    )
    if done.failures:
        yield f"{done.failures.total()} expansions failed{_named(done.failures)}: " + (
            f"{_POLICY[on_failure]} ({done.rows_dropped} rows left out)"
        )
    if done.rows_open:
        yield f"{done.rows_open} rows are not in it: their requests have not been answered yet"
    if done.image_root is not None:
        yield f"its pictures start from {done.image_root}"


def _used_cost(sent: Sent, found: Estimate) -> float | None:
    prices = found.prices
    if prices.prompt is None or prices.completion is None:
        return None
    return (sent.prompt_tokens * prices.prompt + sent.completion_tokens * prices.completion) / 1e6


def _money(amount: float) -> str:
    return f"{amount:,.2f}" if amount >= 1 else f"{amount:.4f}"


def _named(statuses: Mapping[Any, int]) -> str:
    said = ", ".join(f"{count} {status}" for status, count in statuses.items() if count)
    return f" ({said})" if said else ""


_POLICY: dict[OnFailure, str] = {
    "keep-original": "the annotator's reason stays (keep-original)",
    "drop": "the row is left out (drop)",
    "error": "no file is written (error)",
}
