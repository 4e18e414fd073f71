"""The summary: spread, bounds, suspects, as figures, text and picture."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from mmreward_client import dynamic_beta
from mmreward_client.annotation.summary import Tally, histogram
from mmreward_client.cli.app import app
from mmreward_client.schema import Beta
from mmreward_client.testing import LocalService, RecordedAnswers
from typer.testing import CliRunner

BETA = Beta()
margins = st.floats(-50, 50)


def row(delta, number=0, **fields):
    beta = None if delta is None else dynamic_beta(delta)
    status = "internal" if delta is None else "ok"
    told = {"line": number + 1, "id": f"q{number}", "prob": None, "status": status}
    return {**told, "delta": delta, "beta": beta, **fields}


def tally_of(deltas, **options):
    tally = Tally(BETA, **options)
    for number, delta in enumerate(deltas):
        tally.add(row(delta, number))
    return tally


@given(st.lists(st.none() | margins, max_size=60))
def test_every_pair_is_counted(deltas):
    """Scored and failed pairs are all pairs; the figures can be written as JSON."""
    figures = tally_of(deltas).figures()
    assert figures["scored"] + sum(figures["failed"].values()) == figures["pairs"] == len(deltas)
    json.dumps(figures, allow_nan=False)
    if figures["scored"]:
        assert sum(figures["delta"]["histogram"]["counts"]) == figures["scored"]


@given(st.lists(margins, max_size=60), st.integers(0, 8))
def test_suspects_are_the_most_negative(deltas, most):
    """As many as asked for, worst first, none of them above zero."""
    found = [suspect["delta"] for suspect in tally_of(deltas, suspects=most).suspects()]
    assert found == sorted(delta for delta in deltas if delta < 0)[:most]


def test_a_tie_is_no_suspect():
    """Where no answer is preferred, no label can be wrong."""
    tally = Tally(BETA)
    tally.add(row(-5.0), is_tie=True)
    assert tally.suspects() == []
    assert tally.figures()["scored"] == 1


def test_share_at_the_bounds():
    """A saturated reward model shows: β at one of its bounds instead of in between."""
    saturated = tally_of([20.0] * 6 + [-20.0] * 3 + [1.0])
    beta = saturated.figures()["beta"]
    assert (beta["at_lower"], beta["at_upper"]) == (0.3, 0.6)
    informative = tally_of([0.5, 1.0, 1.5, 2.0]).figures()["beta"]
    assert (informative["at_lower"], informative["at_upper"]) == (0.0, 0.0)
    assert informative["stdev"] > 0


def test_quantiles_of_known_margins():
    """Of 0, 1, ... 100 the quantiles are the numbers themselves."""
    quantiles = tally_of([float(n) for n in range(101)]).figures()["delta"]["quantiles"]
    assert quantiles["0.05"] == 5.0
    assert quantiles["0.5"] == 50.0
    assert quantiles["0.99"] == 99.0


@given(st.lists(margins, min_size=1), st.integers(1, 50))
@example([5e-324, 0.0], 1)
@example([-1.0, 0.1 + 0.2], 3)
def test_histogram_loses_nothing(values, bins):
    """Edges rise and hold all values, zero is one of them; counts sum to their number."""
    found = histogram(values, bins=bins)
    assert found["edges"] == sorted(found["edges"])
    assert len(found["edges"]) == len(found["counts"]) + 1
    assert found["edges"][0] <= min(values) <= max(values) <= found["edges"][-1]
    assert len(found["counts"]) <= bins + 3
    if min(values) < 0 < max(values):
        assert 0.0 in found["edges"]
    assert sum(found["counts"]) == len(values)


def test_files_and_text(pictures, write, tmp_path):
    """Text, JSON and a picture that is one; the most suspect label is named with its id."""
    answers = RecordedAnswers({"good": 2.0, "bad": -1.0, "lost": "truncated"})
    texts = {"images": "0.png", "prompt": "Which?"}
    rows = [
        {"id": "right", "chosen": "good", "rejected": "bad", **texts},
        {"id": "turned", "chosen": "bad", "rejected": "good", **texts},
        {"id": "gone", "chosen": "lost", "rejected": "bad", **texts},
    ]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    with LocalService(answers) as service:
        done = CliRunner().invoke(
            app,
            ["annotate", str(file), "--output", str(output), "--url", service.url],
            env={"COLUMNS": "200", "NO_COLOR": "1"},
        )
    assert done.exit_code == 0, done.output
    assert "3 pairs, 2 with a margin; 3 responses scored, 3 more were duplicates" in done.stdout
    assert "1 truncated" in done.stdout
    assert "suspect: line 2, id turned: δ -3.000, prob 0.047" in done.stdout
    assert (tmp_path / "out.summary.png").read_bytes().startswith(b"\x89PNG")
    figures = json.loads((tmp_path / "out.summary.json").read_text())
    assert figures["failed"] == {"truncated": 1}
    assert figures["suspects"][0]["id"] == "turned"
    assert figures["delta"]["positive"] == 0.5
    assert figures["fingerprints"] == ["local-service"]
    assert figures["request"]["mode"] == "generate"
    assert math.isclose(figures["beta"]["mean"], (0.1 + dynamic_beta(3.0)) / 2)


def test_nothing_scored():
    """Without a margin the figures are there and empty."""
    figures = tally_of([None, None]).figures()
    assert figures["delta"]["mean"] is None
    assert figures["beta"]["at_lower"] is None
    assert figures["failed"] == {"internal": 2}


@pytest.mark.parametrize("delta", [0.0, -0.0])
def test_zero_is_not_against_the_label(delta):
    """A margin of nothing disagrees with nobody."""
    assert tally_of([delta]).suspects() == []
