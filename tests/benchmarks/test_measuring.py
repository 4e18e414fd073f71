"""The figures are computed as they are described."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from measuring import rounds
from measuring.machine import REPOSITORY, command_line, describe_machine
from measuring.report import write_result
from over_http import percentile, summary


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "PAUSE_S", 0.0)


async def test_every_variant_runs_once_a_round_and_starts_it_in_turn() -> None:
    """After a warm-up, each round holds every variant once, and each goes first in turn."""
    calls: list[str] = []

    def variant(name: str) -> rounds.Variant:
        async def run() -> float:
            calls.append(name)
            return float(len(calls))

        return run

    names = ["a", "b", "c"]
    seconds = await rounds.interleave({name: variant(name) for name in names}, 3)
    assert calls[:3] == names
    by_round = [calls[i : i + 3] for i in (3, 6, 9)]
    assert [sorted(one) for one in by_round] == [names] * 3
    assert [one[0] for one in by_round] == names
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys(names, 3)


def test_a_ratio_is_taken_within_its_round() -> None:
    """A machine that slows down tenfold in one round leaves the ratio as it was."""
    assert rounds.ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])["values"] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_percentile_is_a_measured_value(share: float, expected: float) -> None:
    """Nearest rank: the smallest value that at least this share of them does not exceed."""
    assert percentile([float(i) for i in range(1, 101)], share) == expected


def test_the_share_of_the_bare_engine_compares_rounds() -> None:
    """Throughput of each round of the service over that of the same round of the bare engine."""

    def run(wall_s: float) -> dict[str, object]:
        cpu = {"api_cpu_s": 0.1, "engine_cpu_s": 0.2}
        tail = {"statuses": {"ok": 8}, "critique_tokens": 80}
        return {"wall_s": wall_s, "latencies_s": [wall_s] * 8, **cpu, **tail}

    found = summary({"service": [run(2.0), run(4.0)], "bare": [run(1.0), run(3.0)]}, 8)
    assert found["share_of_bare"]["values"] == [0.5, 0.75]
    assert found["service"]["statuses"] == {"ok": 16}


def test_a_result_says_where_it_comes_from(tmp_path: Path) -> None:
    """JSON and markdown name the command, the processor and the load before."""
    machine = describe_machine()
    table = ("caption", ("way", "seconds"), [("one", "1.00")])
    write_result(tmp_path / "x.json", {"machine": machine}, "Title", [table], ["A remark."])
    saved = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert saved["machine"]["command"].startswith("python ")
    text = (tmp_path / "x.md").read_text(encoding="utf-8")
    assert "| one | 1.00 |" in text
    assert "- A remark." in text
    assert "load average before" in text


def test_a_command_names_no_path_of_a_machine(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Paths in the repository are relative, others lose their folders, logs are left out."""
    inside = REPOSITORY / "benchmarks" / "results" / "a.json"
    words = ["--work", str(tmp_path / "w"), f"--model={inside}", "--logs", "/x", "--steps", "3"]
    monkeypatch.setattr(sys, "argv", [str(REPOSITORY / "benchmarks" / "b.py"), *words])
    assert command_line() == (
        "python benchmarks/b.py --work w --model=benchmarks/results/a.json --steps 3"
    )
