"""`mmreward annotate --kind judge`: answers are compared with each other, groups in one piece."""

from __future__ import annotations

import json
from itertools import permutations

import pyarrow
import pytest
from client_kit.annotating import annotate, lines, pair
from mmreward_client import Comparison, GroupInput, GroupResult, InvalidInput, RewardClient
from mmreward_client.annotation.judgements import GroupFile, read_groups
from mmreward_client.evaluation.resuming import Origin
from mmreward_client.testing import Fault
from mmreward_service.engine.fake import FakeEngine
from pyarrow import parquet
from service_kit.threaded import running

RANKED = {
    "id": "r",
    "images": "0.png",
    "prompt": "Which?",
    "responses": [
        "[[quality=9]]",
        "[[quality=2]]",
        "[[quality=6]]",
        "left out",
        "[[quality=6]] too",
    ],
    "ranks": [1, 3, 2, None, 2],
}


@pytest.fixture(scope="module")
def url():
    with running(FakeEngine()) as url:
        yield url


def test_pairs_are_those_of_the_pairs_route(url, pictures, write, tmp_path):
    """Scores, δ, both orders, probability and β are what /v1/pairs gives with a judge."""
    file, output = write("pairs.jsonl", [pair(n) for n in range(3)]), tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, "--kind", "judge", "--k", 0.25, url=url)
    assert done.exit_code == 0, done.output
    with RewardClient(url) as client:
        rows = [{**pair(n), "images": [tmp_path / f"{n}.png"]} for n in range(3)]
        reply = client.pairs(rows, kind="judge", beta={"k": 0.25})
    for line, result in zip(lines(output), reply.data, strict=True):
        assert line["chosen_score"] == pytest.approx(result.chosen.score)
        assert line["rejected_score"] == pytest.approx(result.rejected.score)
        assert line["orders"] == pytest.approx(result.orders)
        for name in ("delta", "delta_calibrated", "prob", "beta"):
            assert line[name] == pytest.approx(getattr(result, name)), name
        assert line["status"] == "ok"
    figures = json.loads((tmp_path / "out.summary.json").read_text())
    agreeing = [
        (one.orders[0] > 0) - (one.orders[0] < 0) == (one.orders[1] > 0) - (one.orders[1] < 0)
        for one in reply.data
    ]
    assert figures["order_consistency"] == pytest.approx(sum(agreeing) / 3)
    assert (figures["kind"], figures["groups"]) == ("judge", 3)


def test_parquet_holds_what_json_lines_do(url, pictures, tmp_path):
    """Both orders as a list of numbers, also where the data came as parquet."""
    file, output = tmp_path / "pairs.parquet", tmp_path / "out.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([pair(n) for n in range(3)]), file)
    for name in (output, tmp_path / "out.jsonl"):
        done = annotate(file, "--output", name, "--kind", "judge", url=url)
        assert done.exit_code == 0, done.output
    written = lines(tmp_path / "out.jsonl")
    found = parquet.read_table(output).to_pylist()
    assert [row["orders"] for row in found] == [row["orders"] for row in written]
    assert [row["delta"] for row in found] == [row["delta"] for row in written]
    assert all(len(row["orders"]) == 2 for row in found)


def test_a_ranked_row_is_one_group(url, pictures, write, tmp_path):
    """δ is the difference of the scores of the whole group; what has no rank takes no part."""
    file, output = write("ranked.jsonl", [RANKED]), tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, "--kind", "judge", url=url)
    assert done.exit_code == 0, done.output
    assert "1 groups judged, asked for 4 more times" in done.stdout
    used = [text for text in RANKED["responses"] if text != "out"]
    with RewardClient(url) as client:
        group = GroupInput("Which?", used, images=[tmp_path / "0.png"])
        scores = dict(zip(used, client.groups([group]).data[0].scores, strict=True))
    found = lines(output)
    assert len(found) == 5
    for line in found:
        assert line["delta"] == pytest.approx(scores[line["chosen"]] - scores[line["rejected"]])
        assert len(line["orders"]) == 2
        # A calibration is of pairs alone.
        assert (line["prob"], line["delta_calibrated"]) == (None, None)
        assert line["beta"] is not None
    (asked,) = lines(tmp_path / "out.scores.jsonl")
    assert len(asked["comparisons"]) == 12
    refused = annotate(
        file, "--output", tmp_path / "b.jsonl", "--kind", "judge", "--basis", "calibrated", url=url
    )
    assert refused.exit_code == 1
    assert "groups of up to 4" in refused.stderr


def test_a_judge_alone_is_asked_as_one(local, pictures, write, tmp_path):
    """Without --kind: what the model is; a pair and its mirror image are one group."""
    local.kinds = ["judge"]
    rows = [pair(0), pair(0, chosen="Wrong 0.", rejected="Right 0."), pair(1)]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, url=local.url)
    assert done.exit_code == 0, done.output
    assert {asked.path for asked in local.asked} == {"/v1/groups"}
    assert sum(len(asked.items) for asked in local.asked) == 2
    first, turned, _ = lines(output)
    assert first["delta"] == -turned["delta"]
    assert first["orders"] == [-one for one in turned["orders"][::-1]]


def test_equal_answers_cannot_be_compared(local, pictures, write, tmp_path):
    """There is no margin, and no request; the others are served."""
    file, output = write("pairs.jsonl", [pair(0, chosen="Wrong 0."), pair(1)]), tmp_path / "o.jsonl"
    done = annotate(file, "--output", output, "--kind", "judge", url=local.url)
    assert done.exit_code == 0, done.output
    assert [line["status"] for line in lines(output)] == ["invalid", "ok"]
    assert "the same text" in lines(output)[0]["error"]
    assert lines(output)[0]["id"] == "q0"


def test_a_failed_answer_spoils_its_group_alone(url, pictures, write, tmp_path):
    """Each of the others has met it; the next row is judged as if nothing had been."""
    row = {**RANKED, "responses": ["A 7.", "A 2.", "[[truncated]]"], "ranks": [1, 2, 3]}
    file, output = write("ranked.jsonl", [row, pair(0)]), tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, "--kind", "judge", url=url)
    assert done.exit_code == 0, done.output
    *group, good = lines(output)
    assert [(line["delta"], line["orders"]) for line in group] == [(None, None)] * 3
    assert {line["status"] for line in group} == {"partial"}
    assert all("truncated" in line["error"] for line in group)
    assert good["status"] == "ok"


def test_a_failed_comparison_takes_its_two_answers_alone(tmp_path):
    """Their means would rest on other opponents; those of the others rest on all of them."""
    games = [Comparison(first=i, second=j, scores=(5.0, 4.0)) for i, j in permutations(range(4), 2)]
    games[0] = Comparison(first=0, second=1, status="unparsed")
    group = GroupResult(
        index=0, id="k", status="partial", scores=[4.5] * 4, scores_from=[6] * 4, comparisons=games
    )
    path, origin = tmp_path / "scores.jsonl", Origin("f", {})
    with GroupFile(path, origin, ["k"]) as file:
        file.add(group)
    found = read_groups(path)["k"]
    assert [side.score for side in found.sides] == [None, None, 4.5, 4.5]
    assert found.sides[0].status == "partial"
    # Places in the group are not those of a row: an error that named them would mislead.
    told = [side.error for side in found.sides[:2]]
    assert told == [f"shown {n} in a comparison: unparsed: no scores" for n in ("first", "second")]
    assert found.orders(2, 3) == [1.0, -1.0]
    assert found.orders(0, 1) is None
    with GroupFile(path, origin, ["k"]) as file:
        assert not file.holds("k")


@pytest.mark.parametrize(
    "damage",
    [{"scores": None}, {"scores": [1.0, "x"]}, {"comparisons": [[0, 1, 2.0]]}, {"key": 3}],
)
def test_a_damaged_file_is_refused(tmp_path, damage):
    """Named by file and line: a number from it would be a guess."""
    path, origin = tmp_path / "scores.jsonl", Origin("f", {})
    good = {"key": "k", "status": "ok", "scores": [1.0, 2.0], "errors": [None, None]}
    row = {**good, "comparisons": [], "fingerprint": "f", "request": {}, **damage}
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(InvalidInput, match=r"scores\.jsonl:1"):
        read_groups(path)
    with pytest.raises(InvalidInput, match=r"scores\.jsonl:1"):
        GroupFile(path, origin, ["k"])


def test_failed_groups_are_asked_again(local, pictures, write, tmp_path):
    """What was judged is kept; other constants ask for nothing."""
    file, output = write("pairs.jsonl", [pair(0), pair(1)]), tmp_path / "out.jsonl"
    options = ("--output", output, "--kind", "judge", "--batch-size", 1, "--concurrency", 1)
    local.script(Fault("null", status="unparsed"), None)
    assert annotate(file, *options, url=local.url).exit_code == 0
    assert [line["status"] == "ok" for line in lines(output)] == [False, True]
    again = annotate(file, *options, url=local.url)
    assert "1 groups are scored already" in again.stderr
    assert [line["status"] for line in lines(output)] == ["ok", "ok"]
    asked = len(local.asked)
    assert asked == 3
    assert annotate(file, *options, "--k", 3, url=local.url).exit_code == 0
    assert len(local.asked) == asked


def test_scores_of_the_other_kind_are_refused(local, pictures, write, tmp_path):
    """A file of scores has one origin."""
    file, output = write("pairs.jsonl", [pair(0)]), tmp_path / "out.jsonl"
    assert annotate(file, "--output", output, url=local.url).exit_code == 0
    done = annotate(file, "--output", output, "--kind", "judge", url=local.url)
    assert done.exit_code == 1
    assert "name another answer file" in done.stderr
