"""`mmreward annotate` end to end: every row keeps its place, every response is scored once."""

from __future__ import annotations

import math

import pyarrow
import pytest
from client_kit.annotating import annotate, lines, pair
from mmreward_client import RewardClient
from mmreward_client.testing import LocalService
from mmreward_service.engine.fake import FakeEngine
from pyarrow import parquet
from service_kit import picture, picture_bytes
from service_kit.threaded import running


def test_every_field_is_that_of_the_pairs_route(pictures, write, tmp_path):
    """Scores, margins, probability and β are what /v1/pairs gives for the same pairs."""
    rows = [pair(n, extra={"n": n}) for n in range(4)] + [pair(4, images=["0.png", "1.png"])]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    constants = {"beta0": 0.2, "w": 1.0, "k": 0.25}
    with running(FakeEngine()) as url:
        options = [part for name, value in constants.items() for part in (f"--{name}", value)]
        done = annotate(file, "--output", output, "--ls-factor", *options, url=url)
        assert done.exit_code == 0, done.output
        with RewardClient(url) as client:
            sent = [
                {**row, "images": [tmp_path / name for name in _listed(row["images"])]}
                for row in rows
            ]
            items = [{k: v for k, v in row.items() if k != "extra"} for row in sent]
            reply = client.pairs(items, beta=constants)
    for line, row, result in zip(lines(output), rows, reply.data, strict=True):
        assert {name: line[name] for name in row} == row
        assert (line["chosen_score"], line["rejected_score"]) == (
            result.chosen.score,
            result.rejected.score,
        )
        for name in ("delta", "delta_stderr", "delta_calibrated", "prob", "beta"):
            assert line[name] == pytest.approx(getattr(result, name)), name
        assert (line["status"], line["error"]) == ("ok", None)
        assert line["fingerprint"] == reply.provenance.fingerprint
        assert line["ls_factor"] == pytest.approx(1 - math.exp(-0.25 * line["delta"]))
    assert [line["line"] for line in lines(output)] == [1, 2, 3, 4, 5]


def _listed(value):
    return value if isinstance(value, list) else [value]


def test_ranked_responses(local, pictures, write, tmp_path):
    """All pairs of different rank, none of equal rank; a response is scored once, not per pair."""
    ranked = {
        "id": "r",
        "image": "0.png",
        "prompt": "<image>\nWhich?",
        "responses": ["best", "good", "also good", "left out", "bad"],
        "ranks": [1, 2, 2, None, 3],
        "source": "human",
    }
    file, output = write("ranked.jsonl", [ranked]), tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, url=local.url)
    assert done.exit_code == 0, done.output
    found = lines(output)
    assert [(line["chosen"], line["rejected"]) for line in found] == [
        ("best", "good"),
        ("best", "also good"),
        ("best", "bad"),
        ("good", "bad"),
        ("also good", "bad"),
    ]
    assert [(line["chosen_place"], line["rejected_place"]) for line in found][-1] == (2, 4)
    assert {(line["id"], line["source"], line["prompt"]) for line in found} == {
        ("r", "human", "Which?")
    }
    assert sum(len(asked.items) for asked in local.asked) == 4
    assert "responses" not in found[0]


def test_duplicates_are_scored_once(local, pictures, write, tmp_path):
    """Equal means the same bytes of pictures, question and answer, wherever and however named."""
    (tmp_path / "twin.png").write_bytes((tmp_path / "0.png").read_bytes())
    rows = [
        pair(0),
        pair(0, id="again"),
        pair(0, id="twin", images="twin.png"),
        pair(0, id="turned", chosen="Wrong 0.", rejected="Right 0."),
        pair(0, id="other picture", images="1.png"),
    ]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    done = annotate(file, "--output", output, "--batch-size", 2, url=local.url)
    assert done.exit_code == 0, done.output
    first, again, twin, turned, other = (line["delta"] for line in lines(output))
    assert first == again == twin == -turned
    assert other != first
    assert sum(len(asked.items) for asked in local.asked) == 4
    assert "4 responses scored, 6 more were duplicates" in done.stdout


def test_bad_rows_keep_their_place(local, pictures, write, tmp_path):
    """A damaged line, a missing picture, a missing text: null with a reason, and named."""
    rows = [pair(0), pair(1, images="none.png"), pair(2, chosen=""), pair(0, id="last")]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    file.write_text(file.read_text() + "{oops\n")
    done = annotate(file, "--output", output, url=local.url)
    assert done.exit_code == 0, done.output
    found = lines(output)
    assert [line["status"] for line in found] == ["ok", "invalid", "invalid", "ok", "invalid"]
    assert [line["delta"] is None for line in found] == [False, True, True, False, True]
    assert f"{file}:2: images: 'none.png' is not there" in done.stderr
    assert found[1]["id"] == "q1"
    assert "not JSON" in found[4]["error"]
    assert "3 of 5 items failed: 3 invalid" in done.stderr
    assert annotate(file, "--output", output, "--strict", url=local.url).exit_code == 1


def test_parquet_with_pictures_inside(local, tmp_path):
    """Pictures pass through with their types; the output reads as the input did."""
    images = [{"bytes": picture_bytes(picture(shade=n)), "path": f"{n}.png"} for n in range(3)]
    rows = [{"number": n, **pair(n, images=[images[n]])} for n in range(3)]
    file, output = tmp_path / "pairs.parquet", tmp_path / "out.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    done = annotate(file, "--output", output, url=local.url)
    assert done.exit_code == 0, done.output
    table = parquet.read_table(output)
    assert table.schema.field("images") == parquet.read_schema(file).field("images")
    assert table.schema.field("delta").type == pyarrow.float64()
    assert table.column("error").type == pyarrow.string()
    found = table.to_pylist()
    assert [{name: line[name] for name in rows[0]} for line in found] == rows
    again = annotate(output, "--output", tmp_path / "again.jsonl", url=local.url)
    assert again.exit_code == 0, again.output
    assert "named in JSON lines by SHA-256" in again.stderr
    assert [line["delta"] for line in lines(tmp_path / "again.jsonl")] == [
        line["delta"] for line in found
    ]


def test_a_missing_number_of_another_column_is_null(local, pictures, tmp_path):
    """NaN, as pandas writes what is missing, at any depth; JSON has no such number."""
    nan, rows = math.nan, [pair(0), pair(1)]
    rows[0] |= {"length": 3.0, "parts": [1.0, 2.0], "more": {"x": 1.0}}
    rows[1] |= {"length": nan, "parts": [nan, math.inf], "more": {"x": -math.inf}}
    file, output = tmp_path / "pairs.parquet", tmp_path / "out.jsonl"
    parquet.write_table(pyarrow.Table.from_pylist(rows), file)
    done = annotate(file, "--output", output, "--image-root", tmp_path, url=local.url)
    assert done.exit_code == 0, done.output
    found = [[line[name] for name in ("length", "parts", "more")] for line in lines(output)]
    assert found == [[3.0, [1.0, 2.0], {"x": 1.0}], [None, [None, None], {"x": None}]]
    assert all(line["delta"] is not None for line in lines(output))


def test_saved_dataset(local, tmp_path):
    """A folder of the library `datasets` with a split is read like any table."""
    datasets = pytest.importorskip("datasets")
    images = [{"bytes": picture_bytes(picture(shade=n)), "path": None} for n in range(2)]
    rows = {name: [pair(n)[name] for n in range(2)] for name in ("prompt", "chosen", "rejected")}
    features = datasets.Features(
        {**dict.fromkeys(rows, datasets.Value("string")), "image": datasets.Image()}
    )
    table = datasets.Dataset.from_dict({**rows, "image": images}, features=features)
    folder, output = tmp_path / "saved", tmp_path / "out.parquet"
    datasets.DatasetDict({"train": table}).save_to_disk(str(folder))
    done = annotate(folder, "--split", "train", "--output", output, url=local.url)
    assert done.exit_code == 0, done.output
    found = parquet.read_table(output).to_pylist()
    assert [line["chosen"] for line in found] == rows["chosen"]
    assert [line["image"]["bytes"] for line in found] == [one["bytes"] for one in images]
    assert all(line["status"] == "ok" for line in found)
    assert annotate(folder, "--split", "test", "--output", output, url=local.url).exit_code == 1


def test_json_lines_to_parquet(local, pictures, write, tmp_path):
    """Text columns get a type from their values; a column of two types is refused, scores kept."""
    output = tmp_path / "out.parquet"
    rows = [pair(0, note="a"), pair(1)]
    done = annotate(write("pairs.jsonl", rows), "--output", output, url=local.url)
    assert done.exit_code == 0, done.output
    assert [line["note"] for line in parquet.read_table(output).to_pylist()] == ["a", None]
    mixed = write("mixed.jsonl", [pair(0, note="a"), pair(1, note=["b"])])
    done = annotate(mixed, "--output", tmp_path / "mixed.parquet", url=local.url)
    assert done.exit_code == 1
    assert "note" in done.stderr
    assert (tmp_path / "mixed.scores.jsonl").exists()
    assert not (tmp_path / "mixed.parquet").exists()


def test_calibrated_basis_needs_a_calibration(pictures, write, tmp_path):
    """Without one it is refused before anything is scored; on the raw basis prob is null."""
    file, output = write("pairs.jsonl", [pair(0)]), tmp_path / "out.jsonl"
    with LocalService(is_calibrated=False) as service:
        done = annotate(file, "--output", output, "--basis", "calibrated", url=service.url)
        assert done.exit_code == 1
        assert "holds no calibration" in done.stderr
        assert not service.asked
        assert annotate(file, "--output", output, url=service.url).exit_code == 0
    (line,) = lines(output)
    assert line["prob"] is line["delta_calibrated"] is None
    assert line["beta"] is not None


def test_a_kind_that_the_model_is_not(local, pictures, write, tmp_path):
    """Said before anything is sent; a judge has no critique to be given."""
    file = write("pairs.jsonl", [pair(0)])
    for kinds, asked in ((["judge"], "critique"), (["critique"], "judge")):
        local.kinds = kinds
        done = annotate(file, "--output", tmp_path / "out.jsonl", "--kind", asked, url=local.url)
        assert done.exit_code == 1
        assert f"is {kinds[0]}, not {asked}" in done.stderr
    local.kinds = ["judge"]
    done = annotate(file, "--output", tmp_path / "out.jsonl", "--mode", "none", url=local.url)
    assert done.exit_code == 1
    assert "knows generate only" in done.stderr
    assert not local.asked


def test_given_critiques_are_part_of_a_response(local, pictures, write, tmp_path):
    """--mode given scores the reasons of the rows: another reason is another response."""
    rows = [
        pair(0, chosen_reason="It fits.", rejected_reason="It does not."),
        pair(0, chosen_reason="It fits well.", rejected_reason="It does not."),
    ]
    file, output = write("pairs.jsonl", rows), tmp_path / "out.jsonl"
    assert annotate(file, "--output", output, "--mode", "given", url=local.url).exit_code == 0
    critiques = [item["critique"] for asked in local.asked for item in asked.items]
    assert critiques == ["It fits.", "It does not.", "It fits well."]


def test_wrong_usage(local, pictures, write, tmp_path):
    """Nothing is overwritten that is not this command's, and nothing is sent."""
    file = write("pairs.jsonl", [pair(0)])
    other = write("mine.jsonl", [pair(0)])
    wrong = [
        (tmp_path / "none.jsonl",),
        (file, "--output", other),
        (file, "--output", file),
        (file, "--output", tmp_path / "out.csv"),
        (file, "--output", tmp_path / "no" / "out.jsonl"),
        (file, "--form", "tables"),
        (file, "--basis", "cooked"),
        (file, "--fold-url", local.url, "--fold-url", "http://127.0.0.1:9"),
        (file, "--fold-column", "fold"),
    ]
    for arguments in wrong:
        done = annotate(*arguments, url=local.url)
        assert done.exit_code == 2, (arguments, done.output)
    assert not local.asked
    assert lines(other) == [pair(0)]
    bad = write("bad.jsonl", [{"id": "x"}])
    done = annotate(bad, "--output", tmp_path / "b.jsonl", url=local.url)
    assert done.exit_code == 1
    assert "holds no pair that can be scored" in done.stderr
