"""Recording rules: the quotients that alerts and panels share, named `level:metric:operation`.

Sums come first, quotients after; nothing is a quantile of quantiles. A quotient has no value where
nothing was counted.

The spread of scores is half the distance between the quantiles 0.159 and 0.841, which for a normal
distribution is its standard deviation: a histogram keeps no sum of squares.
"""

from __future__ import annotations

from mmreward_service.metrics.service_levels import LATENCY_SLO_S

from alerting.clock import Clock

Rule = dict[str, str]

SCORING = 'route=~"/v1/score|/v1/pairs|/v1/groups|/get_reward"'
BURN_WINDOWS = ("5m", "30m", "1h", "6h")


def recording_rules(clock: Clock) -> dict[str, list[Rule]]:
    """Groups of rules by name."""
    return {"mmreward-requests": _requests(clock), "mmreward-quality": _quality(clock)}


def _requests(clock: Clock) -> list[Rule]:
    rules = []
    for nominal in BURN_WINDOWS:
        window = clock.window(nominal)
        total = f"sum by (job) (rate(mmreward_requests_total{{{SCORING}}}[{window}]))"
        errors = (
            f'sum by (job) (rate(mmreward_requests_total{{{SCORING},outcome="error"}}[{window}]))'
        )
        # A bucket's bound; on a smaller scale it must be one, too.
        bound = float(LATENCY_SLO_S * clock.scale)
        fast = (
            "sum by (job) (rate(mmreward_request_duration_seconds_bucket"
            f'{{{SCORING},le="{bound}"}}[{window}]))'
        )
        answered = (
            f"sum by (job) (rate(mmreward_request_duration_seconds_count{{{SCORING}}}[{window}]))"
        )
        rules += [
            _rule(f"job:mmreward_request_errors:ratio_rate{nominal}", f"{errors}\n/ ({total} > 0)"),
            _rule(
                f"job:mmreward_request_late:ratio_rate{nominal}",
                f"1 - {fast}\n/ ({answered} > 0)",
            ),
        ]
    window = clock.window("5m")
    total = f"sum by (job) (rate(mmreward_requests_total{{{SCORING}}}[{window}]))"
    full = (
        f'sum by (job) (rate(mmreward_requests_total{{{SCORING},outcome="overloaded"}}[{window}]))'
    )
    hour = clock.window("1h")
    return [
        *rules,
        _rule("job:mmreward_request_overloaded:ratio_rate5m", f"{full}\n/ ({total} > 0)"),
        _rule(
            "job:mmreward_requests:increase1h",
            f"sum by (job) (increase(mmreward_requests_total{{{SCORING}}}[{hour}]))",
        ),
    ]


def _quality(clock: Clock) -> list[Rule]:
    hour = clock.window("1h")
    quarter = clock.window("15m")
    recent = f"[{clock.window('30m')}]"
    before = f"[{clock.window('1d')}] offset {clock.window('30m')}"
    level = "job_model_kind:mmreward_score"
    unread = 'status=~"unparsed|truncated|not_finite"'
    # Each is answered with 200: a request may hold good ones beside.
    failed = 'status=~"internal|deadline|overloaded"'
    five = clock.window("5m")
    items = "sum by (job, model) (rate(mmreward_items_total"
    comparisons = "sum by (job, model) (rate(mmreward_comparisons_total"
    texts = "sum by (job, model) (rate(mmreward_critiques_total"
    swaps = "sum by (job) (increase(mmreward_preference_swap_total"
    return [
        _rule(
            "job_model:mmreward_items_failed:ratio_rate5m",
            f"{items}{{{failed}}}[{five}]))\n/ ({items}[{five}])) > 0)",
        ),
        _rule(
            "job_model:mmreward_comparisons_failed:ratio_rate5m",
            f"{comparisons}{{{failed}}}[{five}]))\n/ ({comparisons}[{five}])) > 0)",
        ),
        _rule(
            "job_model:mmreward_items:increase1h",
            f"sum by (job, model) (increase(mmreward_items_total[{hour}]))",
        ),
        _rule(
            "job_model:mmreward_critiques_unread:ratio_rate15m",
            f"{texts}{{{unread}}}[{quarter}]))\n/ ({texts}[{quarter}])) > 0)",
        ),
        _rule(
            "job_model:mmreward_critiques:increase15m",
            f"sum by (job, model) (increase(mmreward_critiques_total[{quarter}]))",
        ),
        _rule("job:mmreward_preference_swap:increase1h", f"{swaps}[{hour}]))"),
        _rule(
            "job:mmreward_preference_swap:consistent_ratio1h",
            f'{swaps}{{consistent="true"}}[{hour}]))\n/ ({swaps}[{hour}])) > 0)',
        ),
        _rule(f"{level}:mean30m", _mean(recent)),
        _rule(f"{level}:mean1d", _mean(before)),
        _rule(f"{level}:count30m", _count(recent)),
        _rule(f"{level}:count1d", _count(before)),
        _rule(
            f"{level}:sigma1d", f"({_quantile(0.841, before)}\n- {_quantile(0.159, before)}) / 2"
        ),
        _rule(
            f"{level}:drift_sigma", f"({level}:mean30m - {level}:mean1d)\n/ ({level}:sigma1d > 0)"
        ),
    ]


def _mean(window: str) -> str:
    """Of values of both signs: a histogram of such has neither `_sum` nor `_count`."""
    positive, negative = (
        f'sum by (job, model, kind) (rate(mmreward_score_magnitude_total{{sign="{sign}"}}{window}))'
        for sign in ("positive", "negative")
    )
    count = f'sum by (job, model, kind) (rate(mmreward_score_bucket{{le="+Inf"}}{window}))'
    return f"({positive}\n- {negative})\n/ ({count} > 0)"


def _count(window: str) -> str:
    return f'sum by (job, model, kind) (increase(mmreward_score_bucket{{le="+Inf"}}{window}))'


def _quantile(q: float, window: str) -> str:
    buckets = f"sum by (job, model, kind, le) (rate(mmreward_score_bucket{window}))"
    return f"histogram_quantile({q}, {buckets})"


def _rule(name: str, expression: str) -> Rule:
    return {"record": name, "expr": expression}
