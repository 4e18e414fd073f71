"""Reward health: what the numbers look like that a policy is trained on.

A reward that is being hacked shows here before it shows anywhere else: scores move, δ flattens,
critiques grow, a judge names whoever stands first.
"""

from __future__ import annotations

from boards.board import Board, Row
from boards.panel import heat_map, lines, stat
from boards.query import (
    MODEL,
    SERVICE,
    TRAINER,
    buckets,
    mean,
    quantile,
    rate,
    share,
    signed_mean,
)

_CRITIQUES = "mmreward_critiques_total"
_ITEMS = "mmreward_items_total"
_CLIENT = "mmreward_client"


def _texts(pattern: str, by: str) -> str:
    part = rate(_CRITIQUES, f'{MODEL},status=~"{pattern}"', by)
    return share(part, rate(_CRITIQUES, MODEL, by))


_CONSISTENT = share(
    rate("mmreward_preference_swap_total", f'{SERVICE},consistent="true"'),
    rate("mmreward_preference_swap_total"),
)
_NO_LONG_HISTORY = "compares with the day before: there is no value in the first half hour"

_NOW = Row(
    "Now",
    [
        stat("Items", "Items scored per second.", "ops", rate(_ITEMS, MODEL)),
        stat(
            "Scored",
            "Share of items that got all their numbers.",
            "percentunit",
            share(rate(_ITEMS, f'{MODEL},status="ok"'), rate(_ITEMS, MODEL)),
        ),
        stat(
            "Mean score",
            "Mean of all scores, by kind of reading.",
            "none",
            signed_mean("mmreward_score", "kind"),
            by="kind",
        ),
        stat(
            "Mean δ",
            "Mean margin of pairs, by kind of reading.",
            "none",
            signed_mean("mmreward_margin", "kind"),
            by="kind",
        ),
        stat(
            "Orders agree",
            "Share of pairs judged in both orders in which both name the same winner.",
            "percentunit",
            _CONSISTENT,
        ),
        stat(
            "Parity error",
            "Largest difference to the checkpoint's golden scores at the start of any replica.",
            "none",
            f"max(mmreward_parity_error{{{SERVICE}}})",
        ),
    ],
)

_DISTRIBUTIONS = Row(
    "Scores and margins",
    [
        heat_map(
            "Scores",
            "How many scores fell where.",
            "none",
            buckets("mmreward_score", MODEL),
        ),
        lines(
            "Mean score",
            "Mean score by model and kind of reading.",
            "none",
            {"{{model}} {{kind}}": signed_mean("mmreward_score")},
        ),
        lines(
            "Drift of the score",
            "Mean of the last half hour minus that of the day before, in standard deviations.",
            "none",
            {
                "{{model}} {{kind}}": "job_model_kind:mmreward_score:drift_sigma"
                '{job=~"$job",model=~"$model"}'
            },
            empty_because=_NO_LONG_HISTORY,
        ),
        heat_map(
            "Margins",
            "How many margins δ of pairs fell where.",
            "none",
            buckets("mmreward_margin", MODEL),
        ),
        lines(
            "Mean δ",
            "Mean margin of pairs by model and kind of reading.",
            "none",
            {"{{model}} {{kind}}": signed_mean("mmreward_margin")},
        ),
        lines(
            "Median score",
            "The middle of the scores, which a few extreme ones do not move.",
            "none",
            {"{{model}} {{kind}}": quantile(0.5, "mmreward_score", MODEL, "model,kind")},
        ),
    ],
)

_FAILURES = Row(
    "What could not be scored",
    [
        lines(
            "Items by status",
            "Items per second by status.",
            "ops",
            {"{{status}}": rate(_ITEMS, MODEL, "status")},
            stacked=True,
            width=6,
        ),
        lines(
            "Unparsed and truncated",
            "Share of the model's texts that had no readable end, or none at all.",
            "percentunit",
            {name: _texts(name, "") for name in ("unparsed", "truncated", "not_finite")},
            width=6,
        ),
        lines(
            "Null numbers by reason",
            "Numbers of replies that are null, per second, by reason.",
            "ops",
            {"{{reason}}": rate("mmreward_null_numbers_total", MODEL, "reason")},
            stacked=True,
            width=6,
        ),
        lines(
            "Comparisons by status",
            "Comparisons of two responses per second by status.",
            "ops",
            {"{{status}}": rate("mmreward_comparisons_total", MODEL, "status")},
            stacked=True,
            width=6,
        ),
    ],
)

_TEXTS = Row(
    "Judgement and length",
    [
        lines(
            "Orders agree",
            "Share of pairs judged in both orders in which both name the same winner.",
            "percentunit",
            {"same winner": _CONSISTENT},
            maximum=1,
            width=12,
        ),
        lines(
            "Length of critiques",
            "Tokens of the texts that the model writes.",
            "none",
            {
                "mean": mean("mmreward_critique_tokens", MODEL),
                "p50": quantile(0.5, "mmreward_critique_tokens", MODEL),
                "p95": quantile(0.95, "mmreward_critique_tokens", MODEL),
            },
            width=12,
        ),
    ],
)

_TRAINER = Row(
    "Seen from the trainer",
    [
        lines(
            "Wait of a step",
            "Mean time that a training job waits for one call, pauses and attempts included.",
            "s",
            {"{{path}}": mean(f"{_CLIENT}_call_duration_seconds", TRAINER, "path")},
            width=6,
        ),
        lines(
            "Retries by cause",
            "Further attempts per second by the error before them.",
            "ops",
            {"{{cause}}": rate(f"{_CLIENT}_retries_total", TRAINER, "cause")},
            stacked=True,
            width=6,
        ),
        lines(
            "Nulls per entry",
            "Null numbers that reached the training job, per entry of its replies.",
            "none",
            {
                "null": share(
                    rate(f"{_CLIENT}_nulls_total", TRAINER),
                    rate(f"{_CLIENT}_items_total", TRAINER),
                )
            },
            width=6,
        ),
        lines(
            "Self-praise",
            "Share of responses that praise themselves, as the training job reports it.",
            "percentunit",
            # The mean over its processes. Those that report none have NaN, which is not >= 0.
            {"{{job}}": f"avg by (job)({_CLIENT}_self_praise_ratio{{{TRAINER}}} >= 0)"},
            width=6,
        ),
    ],
)

BOARD = Board(
    uid="mmreward-reward",
    title="mmreward: reward health",
    description="Scores, margins, what could not be scored, and the training job's view.",
    rows=[_NOW, _DISTRIBUTIONS, _FAILURES, _TEXTS, _TRAINER],
    has_trainer=True,
)
