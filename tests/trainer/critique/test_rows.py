"""Rows of a training set: columns by name, policies, margins, and the account of all of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, DatasetDict
from mmreward_client.errors import InvalidInput
from mmreward_trainer.critique.check import check_run
from mmreward_trainer.critique.configuration import ConfigError, Data, load_config, parse_change
from mmreward_trainer.critique.encoding import EncodedPair
from mmreward_trainer.critique.preparation import prepare
from mmreward_trainer.critique.rows import RowError, build_rows, read_pictures

from .conftest import Checkpoints, colour_row, write_rows


def _data(*files: Path, **settings: Any) -> Data:
    return Data.model_validate({"train": list(files), **settings})


def test_rows_keep_what_the_file_says(colours: Path, tmp_path: Path) -> None:
    """Texts, reasons, ties and pictures; the account adds up; a second call reads nothing anew."""
    data = _data(colours / "train.jsonl")
    rows = build_rows(data.train, data, tmp_path)
    assert len(rows) == 24
    report = rows.report
    assert (report["with_reasons"], report["without_reasons"], report["ties"]) == (22, 2, 2)
    first = rows.table[0]
    assert first["chosen"] == "It is red."
    assert read_pictures(first) == [(colours / "0.png").read_bytes()]
    again = build_rows(data.train, data, tmp_path)
    assert again.fingerprints == rows.fingerprints
    with pytest.raises(ConfigError, match="other files or settings"):
        build_rows(data.train, _data(*data.train, max_frames=3), tmp_path)


def test_any_dataset_with_named_columns(tmp_path: Path) -> None:
    """A saved `datasets` folder with splits, its columns named otherwise, pictures inside."""
    row = colour_row(0, tmp_path)
    picture = {"bytes": (tmp_path / "0.png").read_bytes(), "path": None}
    table = Dataset.from_list(
        [{"q": "What?", "best": row["chosen"], "worst": row["rejected"], "pic": picture}]
    )
    DatasetDict({"a": table, "b": table}).save_to_disk(str(tmp_path / "saved"))
    data = _data(
        tmp_path / "saved",
        columns=["prompt=q", "chosen=best", "rejected=worst", "images=pic"],
    )
    rows = build_rows(data.train, data, tmp_path / "rows", split="a")
    assert rows.table[0]["prompt"] == "What?"
    assert read_pictures(rows.table[0]) == [picture["bytes"]]
    with pytest.raises(InvalidInput, match="split"):
        build_rows(data.train, data, tmp_path / "neither", split="c")


def test_bad_rows_and_missing_pictures_follow_their_policy(tmp_path: Path) -> None:
    """`error` names file and line; `skip` leaves out, counts and lists."""
    rows = [colour_row(i, tmp_path) for i in range(4)]
    rows[1]["images"] = ["gone.png"]
    del rows[2]["rejected"]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    with pytest.raises(InvalidInput, match=r"rows\.jsonl:2.*gone\.png"):
        build_rows([file], _data(file), tmp_path / "a")
    data = _data(file, bad_rows="skip", missing_images="skip")
    report = build_rows([file], data, tmp_path / "b").report
    assert (report["pairs"], report["bad"], report["missing_images"]) == (2, 1, 1)
    assert any("rows.jsonl:3" in line and "rejected" in line for line in report["left_out"])


def test_a_set_without_rows_is_no_set(tmp_path: Path) -> None:
    """All rows are bad, and were to be skipped: the message tells how many."""
    file = write_rows(tmp_path / "rows.jsonl", [{"id": "a"}, {"id": "b"}])
    with pytest.raises(ConfigError, match=r"no row is left of .*rows\.jsonl.*'bad': 2"):
        build_rows([file], _data(file, bad_rows="skip"), tmp_path / "rows")


@pytest.mark.parametrize("margin", [-1, "two", True, None])
def test_a_margin_that_is_none_is_refused(tmp_path: Path, margin: Any) -> None:
    """By row, not as a NaN in the loss."""
    file = write_rows(tmp_path / "rows.jsonl", [colour_row(0, tmp_path) | {"gap": margin}])
    with pytest.raises(RowError, match=r"rows\.jsonl:1: gap: not a margin"):
        build_rows([file], _data(file, margin_column="gap"), tmp_path / "rows")


def test_margins_are_read(tmp_path: Path) -> None:
    """Of ties there is none."""
    rows = [
        colour_row(0, tmp_path) | {"gap": 1.5},
        colour_row(1, tmp_path) | {"gap": 2, "is_tie": True},
    ]
    file = write_rows(tmp_path / "rows.jsonl", rows)
    table = build_rows([file], _data(file, margin_column="gap"), tmp_path / "rows").table
    assert [row["margin"] for row in table] == [1.5, 0.0]


def test_what_cannot_be_encoded_is_left_out_if_asked(
    checkpoints: Checkpoints, tmp_path: Path
) -> None:
    """Too long, and a picture whose content is broken though its header is fine."""
    rows = [colour_row(i, tmp_path) for i in range(3)]
    rows[1]["chosen"] = "It is red. " * 400
    broken = tmp_path / "2.png"
    broken.write_bytes(broken.read_bytes()[:200])
    file = write_rows(tmp_path / "rows.jsonl", rows)
    config = load_config(
        None,
        {
            "model": str(checkpoints("qwen2_5_vl")), "data.train": [str(file)],
            "data.max_tokens": 300, "run.cpu": True, "run.precision": "float32",
        },
    )  # fmt: skip
    encode = prepare(config).encoder.encode
    found = build_rows([file], config.data, tmp_path / "kept", encode=encode)
    assert len(found) == 1
    assert found.report["unusable"] == 2
    assert any("data.max_tokens is 300" in line for line in found.report["left_out"])
    assert isinstance(encode(found.table[0]), EncodedPair)
    everything = build_rows([file], config.data, tmp_path / "all")
    for number, reason in ((1, "data.max_tokens"), (2, "decoded")):
        with pytest.raises(RowError, match=rf"rows\.jsonl:{number + 1}.*{reason}"):
            encode(everything.table[number])


def test_a_check_names_every_row_of_both_sets(checkpoints: Checkpoints, tmp_path: Path) -> None:
    """Under `error` it fails at the end, under `skip` it tells what would be left out."""
    rows = [colour_row(i, tmp_path) for i in range(4)]
    rows[1]["chosen"] = rows[3]["rejected"] = "It is red. " * 400
    train = write_rows(tmp_path / "train.jsonl", rows[:2])
    validation = write_rows(tmp_path / "validation.jsonl", rows[2:])
    settings = {
        "model": str(checkpoints("qwen2_5_vl")), "data.train": [str(train)],
        "data.validation": [str(validation)], "data.max_tokens": 300, "run.cpu": True,
    }  # fmt: skip
    said: list[str] = []
    with pytest.raises(RowError, match="2 rows cannot be trained on"):
        check_run(load_config(None, settings), said.append)
    assert any("unusable" in line and "train.jsonl:2" in line for line in said)
    assert any("unusable" in line and "validation.jsonl:2" in line for line in said)
    said.clear()
    check_run(load_config(None, settings | {"data.unusable": "skip"}), said.append)
    assert sum("left out" in line for line in said) == 2
    assert said[0].startswith("train: 2 pairs, the longest sequence ")
    # A row of both sets passes only where neither set would keep it.
    write_rows(tmp_path / "validation.jsonl", rows[1:3])
    check_run(load_config(None, settings | {"data.unusable": "skip"}), said.append)
    write_rows(tmp_path / "validation.jsonl", [rows[2], rows[0]])
    with pytest.raises(ConfigError, match="1 validation rows are training rows, too, the first"):
        check_run(load_config(None, settings | {"data.unusable": "skip"}), said.append)


def test_a_picture_that_went_away_is_named(tmp_path: Path) -> None:
    """After the table was built: the message names the row."""
    file = write_rows(tmp_path / "rows.jsonl", [colour_row(0, tmp_path)])
    row = build_rows([file], _data(file), tmp_path / "rows").table[0]
    shutil.move(tmp_path / "0.png", tmp_path / "moved.png")
    with pytest.raises(InvalidInput, match=r"rows\.jsonl:1.*0\.png"):
        read_pictures(row)


def test_settings_name_what_is_wrong(tmp_path: Path) -> None:
    """Unknown names, values out of range, settings that exclude each other."""
    base = {"model": "m", "data.train": ["a.jsonl"]}
    for changes, message in (
        ({"loss.critic": 1}, "loss.critic"),
        ({"loss.critique": -1}, "loss.critique"),
        ({"loss.critique": 0, "loss.score": 0}, "nothing is learned"),
        ({"loss.critique": 0, "own_critiques.from_step": 3}, "own_critiques.from_step"),
        ({"lora.rank": 4, "train_vision": True}, "train_vision"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_config(None, base | changes)
    file = tmp_path / "c.toml"
    file.write_text('model = "m"\n[data]\ntrain = ["a.jsonl"]\n[loss]\nnone = 0.3\n')
    config = load_config(file, dict([parse_change("loss.none=0.4"), parse_change("run.seed=7")]))
    assert (config.loss.none, config.run.seed) == (0.4, 7)
    file.write_text("model = ")
    with pytest.raises(ConfigError, match=r"c\.toml"):
        load_config(file, {})
    with pytest.raises(ConfigError, match="name=value"):
        parse_change("loss.none")
