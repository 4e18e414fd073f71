"""The rules: each alert fires on its fault and stays silent beside it, as promtool computes it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from alerting import rule_files
from alerting.clock import Clock

JOB = {"job": "mmreward", "instance": "a:8000"}
Case = tuple[str, dict[str, str], str, list[dict[str, str]]]


def series(name: str, values: str, **labels: str) -> dict[str, str]:
    """One input series of promtool; `0+5x30` counts 5 a minute."""
    inside = ",".join(f'{key}="{value}"' for key, value in {**JOB, **labels}.items())
    return {f"{name}{{{inside}}}": values}


def requests(ok: str, **others: str) -> dict[str, str]:
    counts = {"ok": ok, **others}
    found: dict[str, str] = {}
    for outcome, values in counts.items():
        found |= series("mmreward_requests_total", values, route="/v1/score", outcome=outcome)
    return found


def durations(fast: str, all_of_them: str) -> dict[str, str]:
    name, route = "mmreward_request_duration_seconds", "/v1/pairs"
    return {
        **series(f"{name}_bucket", fast, route=route, le="30.0"),
        **series(f"{name}_bucket", all_of_them, route=route, le="+Inf"),
        **series(f"{name}_count", all_of_them, route=route),
        **series("mmreward_requests_total", all_of_them, route=route, outcome="ok"),
    }


def scores(positive: str) -> dict[str, str]:
    """Ten a minute, spread around 1; their sum as given."""
    labels = {"model": "m", "kind": "critique"}
    found = {
        **series("mmreward_score_magnitude_total", positive, sign="positive", **labels),
        **series("mmreward_score_magnitude_total", "0x120", sign="negative", **labels),
    }
    for bound, values in (("0", "0+1x120"), ("1", "0+5x120"), ("2", "0+9x120"), ("4", "0+10x120")):
        found |= series("mmreward_score_bucket", values, le=bound, **labels)
    return found | series("mmreward_score_bucket", "0+10x120", le="+Inf", **labels)


def large_scores(first: tuple[str, ...], sums: str) -> dict[str, str]:
    """Ten a minute on a scale to 100, by the bounds of the service; their sum as given."""
    labels = {"model": "m", "kind": "judge"}
    found = {
        **series("mmreward_score_magnitude_total", sums, sign="positive", **labels),
        **series("mmreward_score_magnitude_total", "0x120", sign="negative", **labels),
    }
    for bound, values in zip(("50", "75", "100", "+Inf"), first, strict=True):
        found |= series("mmreward_score_bucket", values, le=bound, **labels)
    return found


def items(**statuses: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for status, values in statuses.items():
        found |= series("mmreward_items_total", values, status=status, model="m")
    return found


def critiques(unparsed: str) -> dict[str, str]:
    name, labels = "mmreward_critiques_total", {"model": "m", "kind": "critique"}
    return {
        **series(name, "0+90x60", status="ok", **labels),
        **series(name, unparsed, status="unparsed", **labels),
    }


def orders(consistent: str, other: str) -> dict[str, str]:
    name = "mmreward_preference_swap_total"
    return series(name, consistent, consistent="true") | series(name, other, consistent="false")


def parity(error: str, dtype: str) -> dict[str, str]:
    return series("mmreward_parity_error", error) | series(
        "mmreward_model_info", "1x60", model="m", dtype=dtype
    )


def engine(waiting: str, running: str) -> dict[str, str]:
    return {
        **series("mmreward_engine_silence_seconds", "0x60"),
        **series("vllm:num_requests_waiting", waiting, model_name="m", engine="0"),
        **series("vllm:num_requests_running", running, model_name="m", engine="0"),
    }


ALIVE = series("up", "1x400")
CRITICAL, WARNING = {"severity": "critical"}, {"severity": "warning"}
OF_JOB = {"job": "mmreward"}
OF_SCORES = {"job": "mmreward", "model": "m", "kind": "critique"}
FAST_AND_SLOW = [OF_JOB | CRITICAL, OF_JOB | WARNING]

FIRES: dict[str, Case] = {
    "down": ("RewardServiceDown", series("up", "1x5 0x20"), "10m", [JOB | CRITICAL]),
    "absent": ("RewardServiceDown", series("other", "1x5"), "5m", [CRITICAL]),
    "not ready": ("RewardNotReady", series("mmreward_ready", "0x30"), "16m", [JOB | CRITICAL]),
    "errors": (
        "RewardErrorBudgetBurn",
        requests("0+60x400", error="0+20x400"),
        "40m",
        FAST_AND_SLOW,
    ),
    "slow burn of errors": (
        "RewardErrorBudgetBurn",
        requests("0+95x400", error="0+5x400"),
        "40m",
        [OF_JOB | WARNING],
    ),
    "late": (
        "RewardLatencyBudgetBurn",
        durations("0+10x400", "0+60x400"),
        "40m",
        FAST_AND_SLOW,
    ),
    "overloaded": (
        "RewardOverloaded",
        requests("0+60x60", overloaded="0+20x60"),
        "20m",
        [OF_JOB | WARNING],
    ),
    "silent engine": (
        "RewardEngineStalled",
        series("mmreward_engine_silence_seconds", "0+60x30"),
        "10m",
        [JOB | CRITICAL],
    ),
    "silence in pieces, by deadlines": (
        "RewardEngineStalled",
        series("mmreward_engine_silence_seconds", "0 60 0 100 0 130 0 160 0 190 0 220 0 250"),
        "11m",
        [JOB | CRITICAL],
    ),
    "idle engine with a queue": (
        "RewardEngineStalled",
        engine("3x60", "0x60"),
        "10m",
        [JOB | CRITICAL],
    ),
    "items that fail, each with 200": (
        "RewardItemsFailing",
        items(ok="0+90x60", internal="0+4x60", deadline="0+6x60"),
        "30m",
        [OF_JOB | {"model": "m"} | CRITICAL],
    ),
    "comparisons that fail in groups with all their scores": (
        "RewardItemsFailing",
        {
            **items(partial="0+10x60"),
            **series("mmreward_comparisons_total", "0+50x60", status="ok", model="m"),
            **series("mmreward_comparisons_total", "0+10x60", status="internal", model="m"),
        },
        "30m",
        [OF_JOB | {"model": "m"} | CRITICAL],
    ),
    "unparsed": (
        "RewardUnparsedHigh",
        critiques("0+10x60"),
        "30m",
        [OF_JOB | {"model": "m"} | WARNING],
    ),
    "drift": ("RewardScoreDrift", scores("0+10x60 660+50x60"), "100m", [OF_SCORES | WARNING]),
    "drift on a scale to 100": (
        "RewardScoreDrift",
        large_scores(
            ("0+2x60 120+0x60", "0+8x60 480+1x60", "0+10x120", "0+10x120"), "0+600x60 36000+900x60"
        ),
        "100m",
        [OF_JOB | {"model": "m", "kind": "judge"} | WARNING],
    ),
    "inconsistent": (
        "RewardOrderInconsistent",
        orders("0+5x90", "0+5x90"),
        "80m",
        [OF_JOB | WARNING],
    ),
    "parity in float32": (
        "RewardParityBroken",
        parity("0.01x60", "float32"),
        "5m",
        [JOB | CRITICAL],
    ),
    "parity in 16 bits": (
        "RewardParityBroken",
        parity("0.5x60", "bfloat16"),
        "5m",
        [JOB | CRITICAL],
    ),
    "xid": (
        "RewardGpuXid",
        series("DCGM_FI_DEV_XID_ERRORS", "0x5 79x20", Hostname="h", gpu="3"),
        "10m",
        [{"Hostname": "h", "gpu": "3"} | WARNING],
    ),
}  # fmt: skip
SILENT: dict[str, Case] = {
    "up": ("RewardServiceDown", ALIVE, "30m", []),
    "one missed scrape": ("RewardServiceDown", series("up", "1x5 0 1x20"), "7m", []),
    "ready": ("RewardNotReady", series("mmreward_ready", "0x10 1x50"), "30m", []),
    "few errors": ("RewardErrorBudgetBurn", requests("0+99x400", error="0+1x400"), "90m", []),
    "one request, and it failed": (
        "RewardErrorBudgetBurn",
        requests("0x400", error="0x10 1x390"),
        "14m",
        [],
    ),
    "errors that are over": (
        "RewardErrorBudgetBurn",
        requests("0+60x400", error="0+60x3 180x400"),
        "40m",
        [],
    ),
    "in time": ("RewardLatencyBudgetBurn", durations("0+199x400", "0+200x400"), "90m", []),
    "a night of few requests, half of them turned away": (
        "RewardOverloaded",
        requests("0+0.1x60", overloaded="0+0.1x60"),
        "40m",
        [],
    ),
    "rarely full": ("RewardOverloaded", requests("0+98x60", overloaded="0+2x60"), "40m", []),
    "long critiques": (
        "RewardEngineStalled",
        series("mmreward_engine_silence_seconds", "0 60 100 0 60 100 0 60 100 0 60 100"),
        "11m",
        [],
    ),
    "a silence that is over": (
        "RewardEngineStalled",
        {
            **series("mmreward_engine_silence_seconds", "0 60 130 0x30"),
            **series("mmreward_critiques_total", "0x4 5+5x30", model="m", kind="critique",
                     status="ok"),
        },
        "6m",
        [],
    ),
    "a queue behind a busy engine": ("RewardEngineStalled", engine("3x60", "8x60"), "40m", []),
    "few items that fail": (
        "RewardItemsFailing", items(ok="0+98x60", internal="0+2x60"), "40m", []
    ),
    "items that the caller should not have sent": (
        "RewardItemsFailing", items(ok="0+50x60", invalid="0+30x60", too_long="0+20x60"), "40m", []
    ),
    "a night of few texts, half of them unread": (
        "RewardUnparsedHigh",
        {key: values.replace("+90x", "+0.2x") for key, values in critiques("0+0.2x60").items()},
        "50m",
        [],
    ),
    "few unparsed": ("RewardUnparsedHigh", critiques("0+1x60"), "40m", []),
    "no drift": ("RewardScoreDrift", scores("0+10x120"), "100m", []),
    "a day with few scores": (
        "RewardScoreDrift",
        {key: values.replace("+10x", "+0.5x") if "_bucket" in key else values
         for key, values in scores("0+10x60 660+50x60").items()},
        "100m",
        [],
    ),
    "consistent": ("RewardOrderInconsistent", orders("0+9x90", "0+1x90"), "80m", []),
    "few pairs": ("RewardOrderInconsistent", orders("0 1x90", "0 9x90"), "50m", []),
    "rounding of 16 bits": ("RewardParityBroken", parity("0.01x60", "bfloat16"), "30m", []),
    "before the check": ("RewardParityBroken", parity("NaN NaN NaN NaN NaN", "float32"), "4m", []),
    "no xid": ("RewardGpuXid", series("DCGM_FI_DEV_XID_ERRORS", "0x30", gpu="3"), "20m", []),
}  # fmt: skip


@pytest.fixture(scope="module")
def alerts(monitoring: Path) -> list[dict[str, Any]]:
    content = yaml.safe_load((monitoring / "rules" / "alerts.yml").read_text())
    return [rule for group in content["groups"] for rule in group["rules"]]


@pytest.mark.parametrize("name", [*FIRES, *SILENT])
def test_alert(
    name: str, monitoring: Path, promtool: Any, alerts: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Computed by promtool from made-up series over hours: who fires, with which labels."""
    alert, given, at, expected = (FIRES | SILENT)[name]
    lifeline = {} if alert == "RewardServiceDown" else ALIVE
    content = {
        "rule_files": [str(path) for path in sorted((monitoring / "rules").glob("*.yml"))],
        "evaluation_interval": "1m",
        "tests": [
            {
                "interval": "1m",
                "input_series": [
                    {"series": key, "values": values} for key, values in (given | lifeline).items()
                ],
                "alert_rule_test": [
                    {
                        "eval_time": at,
                        "alertname": alert,
                        "exp_alerts": [_expected(alerts, alert, labels) for labels in expected],
                    }
                ],
            }
        ],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump(content))
    answer = promtool("test", "rules", path)
    assert answer.returncode == 0, answer.stdout + answer.stderr


def _expected(alerts: list[dict[str, Any]], name: str, labels: dict[str, str]) -> dict[str, Any]:
    """The alert as it must arrive: promtool compares the texts, too."""
    (rule,) = [
        one
        for one in alerts
        if one["alert"] == name and one["labels"]["severity"] == labels["severity"]
    ]

    def filled(text: str) -> str:
        return re.sub(r"{{ \$labels\.(\w+) }}", lambda found: labels.get(found[1], ""), text)

    texts = {key: filled(text) for key, text in rule["annotations"].items()}
    return {"exp_labels": labels, "exp_annotations": texts}


def test_every_alert_has_a_case_of_each_kind(alerts: list[dict[str, Any]]) -> None:
    """An alert that nobody has seen fire is a guess; one that nobody has seen silent is noise."""
    names = {rule["alert"] for rule in alerts}
    assert {case[0] for case in FIRES.values()} == names
    assert {case[0] for case in SILENT.values()} == names


def test_every_alert_is_complete(alerts: list[dict[str, Any]]) -> None:
    """Patience, severity, one sentence, and a way to the runbook."""
    for rule in alerts:
        assert rule["for"] not in ("", "0s")
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["annotations"]["runbook_url"].endswith(f"#{rule['alert'].lower()}")


def test_every_alert_has_its_runbook(root: Path, alerts: list[dict[str, Any]]) -> None:
    """A section each, and in it: symptom, likely causes, what to look at, what to do."""
    page = (root / "docs" / "runbooks.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", page, re.DOTALL | re.MULTILINE))
    assert set(sections) == {rule["alert"] for rule in alerts}
    for name, text in sections.items():
        for part in ("Symptom", "Likely causes", "Look at", "Do"):
            assert f"**{part}.**" in text, f"{name} lacks {part}"


def test_prometheus_takes_the_rules(monitoring: Path, promtool: Any) -> None:
    """Syntax of every file, and no rule twice."""
    answer = promtool("check", "rules", *sorted((monitoring / "rules").glob("*.yml")))
    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_one_scale_for_everything(promtool: Any, tmp_path: Path) -> None:
    """At 1/120 every duration is a 120th, the names are the same, and it is valid."""
    whole, small = rule_files(), rule_files(1 / 120)
    duration = re.compile(r"\[(\w+)\]|offset (\w+)|for: (\w+)")
    for file in whole:
        names = re.compile(r"(?:record|alert): (\S+)")
        assert names.findall(whole[file]) == names.findall(small[file])
        before, after = (duration.findall(texts[file]) for texts in (whole, small))
        assert len(before) == len(after) > 0
        for one, other in zip(before, after, strict=True):
            assert _ms("".join(other)) == pytest.approx(_ms("".join(one)) / 120)
        path = tmp_path / file
        path.write_text(small[file])
        answer = promtool("check", "rules", path)
        assert answer.returncode == 0, answer.stdout + answer.stderr


def _ms(duration: str) -> float:
    number, unit = re.fullmatch(r"(\d+)(\w+)", duration).groups()  # type: ignore[union-attr]
    return int(number) * {"ms": 1, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7}[unit]


def test_the_clock() -> None:
    """Whole units where there are, milliseconds where there are not, never nothing."""
    assert Clock().window("1d") == "1d"
    assert Clock().window("30m") == "30m"
    assert Clock(1 / 120).window("5m") == "2500ms"
    assert Clock(1 / 120).window("1h") == "30s"
    assert Clock(1e-9).window("1s") == "1ms"
