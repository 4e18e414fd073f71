"""`mmreward evaluate --kind judge` through the real service: orders, failures, resume."""

from __future__ import annotations

import json

import pytest
from mmreward_client.cli.app import app
from mmreward_service.engine.fake import FakeEngine
from typer.testing import CliRunner


def evaluate(*arguments):
    return CliRunner().invoke(
        app, ["evaluate", *map(str, arguments)], env={"COLUMNS": "200", "NO_COLOR": "1"}
    )


def row(number, chosen=8, rejected=3, note=""):
    texts = {
        name: f"{name} {number} [[quality={points}]]{note}"
        for name, points in (("chosen", chosen), ("rejected", rejected))
    }
    return {"id": str(number), "image": "mcq/0.png", "prompt": "Which?", **texts}


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def engine():
    return FakeEngine()


@pytest.fixture
def url(make_service, engine):
    return make_service(engine)


ROWS = [
    row(0),
    row(1, 2, 6),
    row(2, 5, 5, "[[first_wins]]"),  # 6 to 5 for whichever is shown first
    row(3, 4, 4),
    row(4, note="[[unparsed]]"),
    row(5, note="[[truncated]]"),
]


@pytest.fixture
def done(url, pictures, write, tmp_path):
    """The rows above, evaluated: the file, the answers, the command's outcome."""
    file, output = write("bench.jsonl", ROWS), tmp_path / "a.jsonl"
    options = ("--url", url, "--image-root", pictures, "--output", output, "--kind", "judge")
    return file, output, options, evaluate(file, *options, "--json")


def test_both_orders_are_answered(done):
    """Rewards are the means of both orders, δ of each stands beside; failures are named, not 0."""
    _, output, _, outcome = done
    assert outcome.exit_code == 0, outcome.output
    answers = lines(output)
    assert [one["rewards"] for one in answers[:4]] == [[8, 3], [2, 6], [5.5, 5.5], [4, 4]]
    assert [one["orders"] for one in answers[:4]] == [[5, 5], [-4, -4], [1, -1], [0, 0]]
    assert [one["status"] for one in answers[4:]] == ["unparsed", "truncated"]
    for failed in answers[4:]:
        assert failed["rewards"] is None
        assert "orders" not in failed
    assert all("boxed" in text for one in answers[:4] for text in one["critic"])
    assert answers[2]["critic"][0] != answers[0]["critic"][0]
    assert all(one["request"]["kind"] == "judge" for one in answers)
    assert 0.5 < answers[0]["prob"] < 1


def test_figures_of_the_orders(done, tmp_path):
    """ACC of the mean; beside it one order alone, consistency and bias; the same from the file."""
    _, output, _, outcome = done
    said = json.loads(outcome.stdout)
    assert said == json.loads(evaluate("--answers", output, "--json").stdout)
    overall = said["overall"]
    assert (overall["acc"], overall["scored"], overall["failed"]) == (0.25, 4, 2)
    assert overall["failures"] == {"unparsed": 1, "truncated": 1}
    orders = overall["orders"]
    assert orders["pairs"] == 4
    assert (orders["acc_chosen_first"], orders["acc_chosen_second"]) == (0.5, 0.25)
    assert orders["acc_one_order"] == 0.375
    assert orders["order_consistency"] == 0.75
    assert orders["first_wins"] == pytest.approx(4 / 6)
    assert orders["ties"] == 0.25
    assert said["categories"]["mcq"]["orders"] == orders
    assert said["categories"]["short"]["orders"] is None
    table = evaluate("--answers", output, "--plots", tmp_path / "plots").stdout
    assert "both orders" in table
    assert "0.667 [" in table
    for name in ("accuracy_by_margin", "margins", "reliability"):
        assert (tmp_path / "plots" / f"{name}.png").is_file()


def test_resumed(done, engine):
    """Answered pairs are kept, failed ones asked again; a critique's answers are not mixed in."""
    file, output, options, _ = done
    before, kept = engine.finished, lines(output)[:4]
    assert evaluate(file, *options).exit_code == 0
    assert engine.finished - before == 2 * 2
    assert lines(output)[:4] == kept
    other = [part for part in options if part not in ("--kind", "judge")]
    refused = evaluate(file, *other)
    assert refused.exit_code == 1
    assert "name another answer file" in refused.stderr


def test_a_judge_alone_needs_no_kind(make_service, pictures, write, tmp_path):
    """What the model is decides where it is one thing only, and the answers say so."""
    engine = FakeEngine()
    engine.spec = engine.spec.model_copy(update={"kinds": ["judge"]})
    file, output = write("bench.jsonl", ROWS[:2]), tmp_path / "a.jsonl"
    url = make_service(engine)
    options = ("--url", url, "--image-root", pictures, "--output", output)
    assert evaluate(file, *options).exit_code == 0
    assert [one["orders"] for one in lines(output)] == [[5, 5], [-4, -4]]
    assert lines(output)[0]["request"]["kind"] == "judge"
    assert evaluate(file, *options, "--kind", "judge").exit_code == 0


@pytest.mark.parametrize("options", [("--kind", "jury"), ("--kind", "judge", "--mode", "none")])
def test_wrong_usage(write, options):
    """A kind that there is not, and a mode that no judge has, are refused before anything."""
    done = evaluate(write("bench.jsonl", ROWS), *options)
    assert done.exit_code == 2
    assert "--kind" in done.stderr or "--mode" in done.stderr
