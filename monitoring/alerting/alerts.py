"""The alerts: symptoms that a person should know of, each with its runbook.

Burn rates: how many times faster than the objective allows the budget of a month is being used. At
14.4 it is gone in two days, at 6 in five. Two windows each, so that an alert neither comes for a
blip nor stays after the end (Google, The Site Reliability Workbook, chapter 5, table 5-8).
"""

from __future__ import annotations

from typing import Any

from mmreward_service.metrics.service_levels import AVAILABILITY_SLO_RATIO, LATENCY_SLO_RATIO
from mmreward_service.settings import Settings
from mmreward_service.startup import FULL_PRECISION_TOLERANCE, HALF_PRECISION_TOLERANCE

from alerting.clock import Clock

ENOUGH_REQUESTS = 20
ENOUGH_TEXTS = 20
ENOUGH_PAIRS = 50
ENOUGH_SCORES = 100
"""Below these a share says little, and one bad request of two would wake somebody."""
OVERLOADED = 0.05
UNREAD = 0.02
FAILED_ITEMS = 0.05
CONSISTENT = 0.6
"""A judge that tosses a coin names the same winner in half of the pairs."""
DRIFT_SIGMA = 1.0

Rule = dict[str, Any]


def alert_rules(clock: Clock, runbooks: str) -> dict[str, list[Rule]]:
    """Groups of rules by name; `runbooks` is the address of the page with a section for each."""

    def alert(name: str, patience: str, severity: str, summary: str, expression: str) -> Rule:
        return {
            "alert": name,
            "expr": expression,
            "for": clock.window(patience),
            "labels": {"severity": severity},
            "annotations": {"summary": summary, "runbook_url": f"{runbooks}#{name.lower()}"},
        }

    silence_s = Settings.model_fields["stall_after_s"].default * clock.scale
    service = [
        alert(
            "RewardServiceDown",
            "1m",
            "critical",
            "A replica of {{ $labels.job }} cannot be reached.",
            'up{job=~"mmreward.*"} == 0\nor absent(up{job=~"mmreward.*"})',
        ),
        alert(
            "RewardNotReady",
            "15m",
            "critical",
            "{{ $labels.instance }} of {{ $labels.job }} runs, but gives no scores.",
            "max by (job, instance) (mmreward_ready) == 0",
        ),
        *(
            alert("RewardErrorBudgetBurn", patience, severity, summary, expression)
            for patience, severity, summary, expression in _burns(
                "errors", AVAILABILITY_SLO_RATIO, "Requests to {{ $labels.job }} fail"
            )
        ),
        *(
            alert("RewardLatencyBudgetBurn", patience, severity, summary, expression)
            for patience, severity, summary, expression in _burns(
                "late", LATENCY_SLO_RATIO, "Requests to {{ $labels.job }} take longer than 30 s"
            )
        ),
        alert(
            "RewardOverloaded",
            "10m",
            "warning",
            "{{ $labels.job }} turns more than 5 % of its requests away.",
            f"job:mmreward_request_overloaded:ratio_rate5m > {OVERLOADED}\n"
            f"and job:mmreward_requests:increase1h >= {ENOUGH_REQUESTS}",
        ),
        alert(
            "RewardEngineStalled",
            "2m",
            "critical",
            "The engine of {{ $labels.instance }} has questions and answers none.",
            # The silence is 0 between requests that end by their deadline, one after another. A
            # text that was finished since then ends it.
            "max by (job, instance) "
            f"(max_over_time(mmreward_engine_silence_seconds[{clock.window('5m')}])) "
            f"> {silence_s:g}\n"
            "unless sum by (job, instance) "
            f"(increase(mmreward_critiques_total[{clock.window('2m')}])) > 0\n"
            "or sum by (job, instance) (vllm:num_requests_waiting) > 0\n"
            "and sum by (job, instance) (vllm:num_requests_running) == 0",
        ),
    ]
    quality = [
        alert(
            "RewardItemsFailing",
            "5m",
            "critical",
            "More than 5 % of what {{ $labels.job }} is asked has no score, by its own fault.",
            # A group in which comparisons failed is `partial`, and may have all its scores.
            f"(job_model:mmreward_items_failed:ratio_rate5m > {FAILED_ITEMS}\n"
            f"or job_model:mmreward_comparisons_failed:ratio_rate5m > {FAILED_ITEMS})\n"
            f"and job_model:mmreward_items:increase1h >= {ENOUGH_REQUESTS}",
        ),
        alert(
            "RewardUnparsedHigh",
            "15m",
            "warning",
            "More than 2 % of the texts of {{ $labels.model }} have no score to read.",
            f"job_model:mmreward_critiques_unread:ratio_rate15m > {UNREAD}\n"
            f"and job_model:mmreward_critiques:increase15m >= {ENOUGH_TEXTS}",
        ),
        alert(
            "RewardScoreDrift",
            "15m",
            "warning",
            "Scores of {{ $labels.model }} moved by more than a standard deviation.",
            f"abs(job_model_kind:mmreward_score:drift_sigma) > {DRIFT_SIGMA}\n"
            f"and job_model_kind:mmreward_score:count30m >= {ENOUGH_SCORES}\n"
            f"and job_model_kind:mmreward_score:count1d >= {ENOUGH_SCORES}",
        ),
        alert(
            "RewardOrderInconsistent",
            "15m",
            "warning",
            "The judge of {{ $labels.job }} changes its mind when two answers change places.",
            f"job:mmreward_preference_swap:consistent_ratio1h < {CONSISTENT}\n"
            f"and job:mmreward_preference_swap:increase1h >= {ENOUGH_PAIRS}",
        ),
        alert(
            "RewardParityBroken",
            "1m",
            "critical",
            "{{ $labels.instance }} does not reproduce the golden scores of its checkpoint.",
            f"max by (job, instance) (mmreward_parity_error) > {HALF_PRECISION_TOLERANCE}\n"
            f"or max by (job, instance) (mmreward_parity_error) > {FULL_PRECISION_TOLERANCE}\n"
            'and on (job, instance) mmreward_model_info{dtype="float32"}',
        ),
    ]
    gpu = [
        alert(
            "RewardGpuXid",
            "1m",
            "warning",
            "The driver of GPU {{ $labels.gpu }} of {{ $labels.Hostname }} reports a fault.",
            "max by (Hostname, gpu) (DCGM_FI_DEV_XID_ERRORS) > 0",
        )
    ]
    return {"mmreward-service": service, "mmreward-quality": quality, "mmreward-gpu": gpu}


def _burns(what: str, objective: float, symptom: str) -> list[tuple[str, str, str, str]]:
    """Patience, severity, summary and expression of a fast and of a slow burn."""
    budget = 1 - objective
    burns = (
        (14.4, "1h", "5m", "2m", "critical", "the month's budget lasts two days"),
        (6.0, "6h", "30m", "15m", "warning", "the month's budget lasts five days"),
    )
    return [
        (
            patience,
            severity,
            f"{symptom}: {consequence}.",
            f"job:mmreward_request_{what}:ratio_rate{long} > {factor * budget:g}\n"
            f"and job:mmreward_request_{what}:ratio_rate{short} > {factor * budget:g}\n"
            f"and job:mmreward_requests:increase1h >= {ENOUGH_REQUESTS}",
        )
        for factor, long, short, patience, severity, consequence in burns
    ]
