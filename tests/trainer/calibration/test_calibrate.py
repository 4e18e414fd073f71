"""`mmreward-train calibrate`: overlap refused, config.json written, served, resumed."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
from calibration_kit import TRUE_TEMPERATURE, rewarded, row, train_on
from mmreward_client import RewardClient
from mmreward_service.engine.fake import FakeEngine
from mmreward_service.reward.checkpoint import load_spec, weights_fingerprint
from mmreward_service.reward.margin import probability
from mmreward_trainer.calibration.command import Settings
from mmreward_trainer.cli.main import app
from service_kit.threaded import running
from typer.testing import CliRunner


def calibrate(*arguments: object) -> Any:
    return CliRunner().invoke(
        app, ["calibrate", *map(str, arguments)], env={"COLUMNS": "200", "NO_COLOR": "1"}
    )


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "report"


@pytest.fixture
def answered(write) -> tuple[Path, Path]:
    """A thousand pairs and their answers."""
    rows = [row(number) for number in range(1000)]
    return write("pairs.jsonl", rows), write("answers.jsonl", rewarded(rows))


def test_a_temperature_is_fitted_and_written(checkpoint, answered, report) -> None:
    """Near the true one; the report names what it rests on; weights and all else are untouched."""
    pairs, answers = answered
    before = json.loads((checkpoint / "config.json").read_text())
    weights = weights_fingerprint(checkpoint)
    done = calibrate(checkpoint, pairs, "--answers", answers, "--report", report)
    assert done.exit_code == 0, done.output
    (found,) = load_spec(checkpoint).calibration
    assert found.temperature == pytest.approx(TRUE_TEMPERATURE, rel=0.15)
    assert found.interval_95[0] < TRUE_TEMPERATURE < found.interval_95[1]
    assert (found.key, found.method) == (("critique", "generate", 1), "temperature")
    assert (found.pairs, found.overlap_checked) == (1000, True)
    after = json.loads((checkpoint / "config.json").read_text())
    assert after["reward"].pop("calibration") == [found.model_dump(mode="json")]
    before["reward"].pop("calibration")
    assert after == before
    assert weights_fingerprint(checkpoint) == weights
    told = json.loads((report / "report.json").read_text())
    fit = told["fits"]["generate-1"]
    assert fit["calibration"] == found.model_dump(mode="json")
    assert (fit["rows"], fit["groups"], fit["replaced"]) == (1000, 80, None)
    assert set(fit["categories"]) == {"shapes", "colours"}
    assert told["written"] is True
    assert told["settings"]["pairs"] == str(pairs)
    assert (report / "reliability-generate-1.png").read_bytes().startswith(b"\x89PNG")
    assert "| shapes | 500 |" in (report / "report.md").read_text()


def test_others_are_kept_and_its_own_is_replaced(checkpoint, answered, report, write) -> None:
    """Same kind, mode and K: replaced and shown. Any other: as it was, byte for byte."""
    pairs, answers = answered
    config = json.loads((checkpoint / "config.json").read_text())
    old = {
        "kind": "critique", "mode": "generate", "critiques": 1, "method": "temperature",
        "temperature": 3.25, "interval_95": [3.0, 3.5], "errors": 99, "pairs": 400,
    }  # fmt: skip
    config["reward"]["calibration"] = [old, {**old, "critiques": 8}, {**old, "mode": "none"}]
    (checkpoint / "config.json").write_text(json.dumps(config))
    done = calibrate(checkpoint, pairs, "--answers", answers, "--report", report)
    assert done.exit_code == 0, done.output
    assert "replaces temperature 3.25 [3, 3.5]" in done.stderr
    listed = json.loads((checkpoint / "config.json").read_text())["reward"]["calibration"]
    assert listed[1:] == [{**old, "critiques": 8}, {**old, "mode": "none"}]
    assert listed[0]["temperature"] == pytest.approx(TRUE_TEMPERATURE, rel=0.15)
    told = json.loads((report / "report.json").read_text())["fits"]["generate-1"]
    assert told["replaced"]["temperature"] == 3.25
    assert told["before_is"] == "replaced"


def test_a_dry_run_writes_no_config(checkpoint, answered, report) -> None:
    pairs, answers = answered
    before = (checkpoint / "config.json").read_bytes()
    done = calibrate(checkpoint, pairs, "--answers", answers, "--report", report, "--dry-run")
    assert done.exit_code == 0, done.output
    assert "Dry run" in done.stderr
    assert (checkpoint / "config.json").read_bytes() == before
    assert json.loads((report / "report.json").read_text())["written"] is False


def test_the_mode_of_the_file_is_kept(checkpoint, answered, report) -> None:
    """A folder that a group may read is not made private by an atomic write."""
    (checkpoint / "config.json").chmod(0o664)
    calibrate(checkpoint, answered[0], "--answers", answered[1], "--report", report)
    assert (checkpoint / "config.json").stat().st_mode & 0o777 == 0o664
    assert os.listdir(checkpoint).count("config.json.part") == 0


def test_overlap_is_refused(checkpoint, answered, report, write) -> None:
    """Three rows of the training, moved and renamed: their number and places, and nothing done."""
    pairs, answers = answered
    trained = [{**row(number), "id": "other", "category": "x"} for number in (5, 6, 900)]
    train_on(checkpoint, write("trained.jsonl", [*trained, row(5000)]))
    before = (checkpoint / "config.json").read_bytes()
    done = calibrate(checkpoint, pairs, "--answers", answers, "--report", report)
    assert done.exit_code == 1
    assert "3 of 1000 pairs were trained on" in done.stderr
    for line in (6, 7, 901):
        assert f"{pairs}:{line}" in done.stderr
    assert (checkpoint / "config.json").read_bytes() == before
    assert not report.exists()


def test_unknown_training_rows_are_refused_or_said(checkpoint, answered, report) -> None:
    """A checkpoint without a list: --unchecked goes on, and the calibration carries it."""
    config = json.loads((checkpoint / "config.json").read_text())
    config["reward"]["training_rows"] = {"pairs": 54240}
    (checkpoint / "config.json").write_text(json.dumps(config))
    arguments = (checkpoint, answered[0], "--answers", answered[1], "--report", report)
    done = calibrate(*arguments)
    assert done.exit_code == 1
    assert "--unchecked" in done.stderr
    assert calibrate(*arguments, "--unchecked").exit_code == 0
    assert load_spec(checkpoint).calibration[0].overlap_checked is False
    assert "trained on was not checked" in (report / "report.md").read_text()


def test_a_list_with_unknown_earlier_rows_is_no_check(checkpoint, answered, report, write) -> None:
    """Pairs that are not listed may still have been trained on; those that are listed were."""
    pairs, answers = answered
    arguments = (checkpoint, pairs, "--answers", answers, "--report", report)

    def with_a_gap(trained: list[dict[str, Any]]) -> None:
        train_on(checkpoint, write("trained.jsonl", trained))
        config = json.loads((checkpoint / "config.json").read_text())
        config["reward"]["training_rows"]["earlier"] = "unknown"
        (checkpoint / "config.json").write_text(json.dumps(config))

    with_a_gap([row(5000)])
    done = calibrate(*arguments)
    assert done.exit_code == 1
    assert "does not list all training rows" in done.stderr
    assert "--unchecked" in done.stderr
    assert calibrate(*arguments, "--unchecked").exit_code == 0
    assert load_spec(checkpoint).calibration[0].overlap_checked is False
    assert "checked in part" in (report / "report.md").read_text()
    with_a_gap([row(6)])
    done = calibrate(*arguments, "--unchecked")
    assert done.exit_code == 1
    assert "1 of 1000 pairs were trained on" in done.stderr


def test_too_few_errors_are_refused(checkpoint, write, report) -> None:
    """Exit 1 with the reason; config.json stays, and the report says why."""
    rows = [row(number) for number in range(200)]
    answers = rewarded(rows)
    for number, one in enumerate(answers):
        one["rewards"] = [-1.0 if number < 29 else 2.0, 0.0]
    before = (checkpoint / "config.json").read_bytes()
    pairs, file = write("p.jsonl", rows), write("a.jsonl", answers)
    done = calibrate(checkpoint, pairs, "--answers", file, "--report", report)
    assert done.exit_code == 1
    assert "29 of 200 pairs are wrong" in done.stderr
    assert (checkpoint / "config.json").read_bytes() == before
    told = json.loads((report / "report.json").read_text())
    assert (told["written"], told["fits"], list(told["refused"])) == (
        False,
        {},
        ["generate, K = 1"],
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "either --answers or --url"),
        (("--answers", "PAIRS", "--url", "http://x"), "either --answers or --url"),
        (("--url", "http://x"), "--mode"),
        (("--url", "http://x", "--mode", "none", "--critiques", "8"), "--critiques"),
        (("--answers", "PAIRS", "--method", "platt"), "--method"),
        (("--answers", "PAIRS", "--mode", "dream"), "--mode"),
        (("--answers", "PAIRS", "--kind", "oracle"), "--kind"),
        (("--answers", "nowhere.jsonl"), "--answers"),
    ],
)
def test_wrong_usage(checkpoint, answered, arguments: tuple[str, ...], message: str) -> None:
    """Exit 2, and the option is named."""
    given = [str(answered[0]) if one == "PAIRS" else one for one in arguments]
    done = calibrate(checkpoint, answered[0], *given)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_checkpoint_is_only_what_it_is(checkpoint, answered, report) -> None:
    done = calibrate(
        checkpoint, answered[0], "--answers", answered[1], "--kind", "judge", "--report", report
    )
    assert done.exit_code == 1
    assert "is no judge" in done.stderr


class Serving(FakeEngine):
    """The deterministic engine as if it served a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    @property
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance, "weights_sha256": weights_fingerprint(self.folder)}


@pytest.fixture
def asked(write, checkpoint, pictures) -> tuple[Path, Serving]:
    """240 pairs that the engine mostly judges rightly: the better answer is named by its scores."""
    rows = [row(number) for number in range(240)]
    with running(FakeEngine()) as url, RewardClient(url) as client:
        items = [
            {
                "images": [str(pictures / one["image"])],
                "prompt": one["prompt"],
                "chosen": one["chosen"],
                "rejected": one["rejected"],
            }
            for one in rows
        ]
        for number, (one, result) in enumerate(zip(rows, client.pairs(items).data, strict=True)):
            assert result.delta is not None
            if (result.delta < 0) != (number % 5 == 0):
                one["chosen"], one["rejected"] = one["rejected"], one["chosen"]
    return write("asked.jsonl", rows), Serving(checkpoint)


def test_what_is_fitted_is_what_is_served(asked, checkpoint, report, pictures) -> None:
    """Asked through the service, written, loaded: `prob` is the isotonic map's, the calibrated
    delta the temperature's, and a margin turned around is the other probability."""
    pairs, engine = asked
    with running(engine) as url:
        done = calibrate(
            *(checkpoint, pairs, "--url", url, "--mode", "generate", "--critiques", 1),
            *("--critiques", 2, "--method", "isotonic", "--report", report),
        )
    assert done.exit_code == 0, done.output
    fitted = {one.critiques: one for one in load_spec(checkpoint).calibration}
    assert set(fitted) == {1, 2}
    calibration = fitted[1]
    assert calibration.knots
    serving = Serving(checkpoint)
    serving.spec = serving.spec.model_copy(
        update={"calibration": load_spec(checkpoint).calibration}
    )
    item = {
        "images": [str(pictures / "3.png")],
        "prompt": "Which?",
        "chosen": "This one.",
        "rejected": "That one.",
    }
    swapped = {**item, "chosen": item["rejected"], "rejected": item["chosen"]}
    with running(serving) as url, RewardClient(url) as client:
        there, back = client.pairs([item, swapped]).data
        assert client.models().data[0].calibration[0]["method"] == "isotonic"
    assert there.delta is not None
    assert there.prob == probability(there.delta, calibration.temperature, calibration.knots)
    assert there.delta_calibrated == pytest.approx(there.delta / calibration.temperature)
    sigmoid = 1 / (1 + math.exp(-there.delta / calibration.temperature))
    assert there.prob != pytest.approx(sigmoid, abs=1e-6)
    assert there.prob + back.prob == 1.0


def test_a_judge_is_calibrated_by_its_own_margins_in_both_orders(write, checkpoint, report) -> None:
    """Asked as a judge, although the checkpoint is a critique model first; written as a judge's."""
    config = json.loads((checkpoint / "config.json").read_text())
    config["reward"]["kinds"] = ["critique", "judge"]
    config["reward"]["templates"]["judge"] = "{media}{prompt} {first} {second}"
    (checkpoint / "config.json").write_text(json.dumps(config))
    held = load_spec(checkpoint).calibration
    qualities = [(7, 4), (6, 5), (8, 3), (4, 6), (5, 4), (9, 2)]  # one in six on the wrong side
    rows = [
        row(
            number,
            chosen=f"one [[quality={qualities[number % 6][0]}]]",
            rejected=f"other [[quality={qualities[number % 6][1]}]]",
        )
        for number in range(240)
    ]
    with running(Serving(checkpoint)) as url:
        done = calibrate(
            *(checkpoint, write("judged.jsonl", rows), "--url", url, "--mode", "generate"),
            *("--critiques", 1, "--kind", "judge", "--report", report),
        )
    assert done.exit_code == 0, done.output
    spec = load_spec(checkpoint)
    found = spec.find_calibration("generate", 1, "judge")
    assert found is not None
    assert (found.pairs, found.errors) == (240, 40)
    assert [one for one in spec.calibration if one.kind == "critique"] == held
    [answers] = report.glob("answers-judge-*.jsonl")
    first = json.loads(answers.read_text().splitlines()[0])
    assert first["orders"] == [3.0, 3.0]
    again = calibrate(
        *(checkpoint, report.parent / "pictures" / "judged.jsonl", "--answers", answers),
        *("--report", report.with_name("other")),
    )
    assert again.exit_code == 1
    assert "was answered by a model of kind judge, not critique" in again.stderr


def test_an_interrupted_run_goes_on(asked, checkpoint, report) -> None:
    """Answers that are there are not asked for again, and the result is that of one go."""
    pairs, engine = asked
    whole = report.with_name("whole")
    common = ("--mode", "generate", "--critiques", 1, "--dry-run", "--batch-size", 8)
    with running(engine) as url:
        assert calibrate(checkpoint, pairs, "--url", url, *common, "--report", whole).exit_code == 0
        lines = (whole / "answers-generate-1.jsonl").read_text().splitlines(keepends=True)
        report.mkdir()
        cut = "".join(lines[:100]) + lines[100][:40]
        (report / "answers-generate-1.jsonl").write_text(cut)
        finished = engine.finished
        done = calibrate(checkpoint, pairs, "--url", url, *common, "--report", report)
    assert done.exit_code == 0, done.output
    assert engine.finished - finished == 2 * 140
    fits = [
        json.loads((folder / "report.json").read_text())["fits"]["generate-1"]
        for folder in (whole, report)
    ]
    assert fits[0]["calibration"] == fits[1]["calibration"]


def test_another_model_behind_the_service_is_refused(asked, checkpoint, report, tmp_path) -> None:
    """Before anything is asked: its margins would be in another unit."""
    pairs, engine = asked
    engine.folder = tmp_path / "other"
    engine.folder.mkdir()
    (engine.folder / "model.safetensors").write_bytes(b"other weights")
    with running(engine) as url:
        done = calibrate(checkpoint, pairs, "--url", url, "--mode", "generate", "--report", report)
    assert done.exit_code == 1
    assert "serves other weights" in done.stderr
    assert list(report.iterdir()) == []


def test_no_password_comes_into_the_report(checkpoint, answered) -> None:
    """An address may hold one; the report keeps host and path."""
    settings = Settings(
        checkpoint=checkpoint, pairs=answered[0], answers=(), mode="none", critiques=(1,),
        url="https://me:secret@reward.example:8443/base", form=None, columns=(), split=None,
        kind="critique", choice="auto",
        report=checkpoint, image_root=None, frames=16, fps=1.0, seed=0, dry_run=True,
        unchecked=False, batch_size=1, concurrency=1, timeout_s=1.0,
    )  # fmt: skip
    shown = settings.shown()
    assert shown["url"] == "https://reward.example:8443/base"
    assert "secret" not in json.dumps(shown)


def test_a_report_that_cannot_be_written_leaves_the_checkpoint(
    checkpoint, answered, report
) -> None:
    """No calibration without its report."""
    before = (checkpoint / "config.json").read_bytes()
    (report / "reliability-generate-1.png").mkdir(parents=True)
    done = calibrate(checkpoint, answered[0], "--answers", answered[1], "--report", report)
    assert done.exit_code == 1
    assert (checkpoint / "config.json").read_bytes() == before


def test_a_damaged_answer_is_one_line(checkpoint, answered, report) -> None:
    """File and line on stderr, and no traceback."""
    pairs, answers = answered
    answers.write_text(answers.read_text() + "{broken\n")
    done = calibrate(checkpoint, pairs, "--answers", answers, "--report", report)
    assert done.exit_code == 1
    assert f"{answers}:1001" in done.stderr
    assert "Traceback" not in done.output
