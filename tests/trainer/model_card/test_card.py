"""Model cards: figures with all that belongs to them, and what is unknown is named as unknown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mmreward_client.evaluation.answers import read_answers
from mmreward_client.evaluation.report import report
from mmreward_service.reward.checkpoint import weights_fingerprint
from mmreward_service.reward.spec import Calibration
from mmreward_trainer.cli.main import app
from mmreward_trainer.model_card import TOPICS, CardError, Data, Figure, ModelCard, write_model_card
from mmreward_trainer.model_card.evaluations import read_evaluation
from mmreward_trainer.model_card.rendering import flattened, render
from mmreward_trainer.model_card.runs import card_of
from reward_folders import make_folder, make_spec
from typer.testing import CliRunner


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "my-reward-model"
    path.mkdir()
    return make_folder(path)


@pytest.fixture
def answers(tmp_path: Path) -> Path:
    """Four scored pairs of two questions and a failed one, as `mmreward evaluate` writes them."""
    rows = []
    for number, rewards in enumerate([[2.0, 1.0], [1.0, 0.5], [0.25, 0.75], [3.0, 1.0], None]):
        rows.append(
            {
                "id": str(number // 2),
                "image": f"mcq/{number // 2}.png",
                "prompt": "Which?",
                "chosen": "A long answer" + "." * number,
                "rejected": f"Short {number}",
                "rewards": rewards,
                "status": "ok" if rewards else "truncated",
                "fingerprint": "0123456789abcdef",
                "request": {"critiques": 8, "mode": "generate", "frames": 16, "fps": 1.0},
            }
        )
    path = tmp_path / "bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made(**changes: Any) -> ModelCard:
    fields: dict[str, Any] = {
        "name": "a model",
        "summary": "It prefers.",
        "spec": make_spec(),
        "weights_sha256": "ab" * 32,
        "intended_use": ("choosing",),
        "limits": ("many",),
    }
    return ModelCard(**{**fields, **changes})


def front_matter(text: str) -> dict[str, Any]:
    _, block, _ = text.split("---\n", 2)
    return yaml.safe_load(block)


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]


def row(text: str, first: str) -> list[str]:
    """Cells of the line of a table that begins with `first`."""
    (line,) = [one for one in text.splitlines() if one.startswith(f"| {first} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_what_is_unknown_is_named() -> None:
    """A card that knows nothing has every section, every topic and every benchmark, and no number
    in any of them."""
    text = render(made())
    for topic in TOPICS:
        assert row(text, topic) == ["not measured"]
    for name in ("MM-RLHF-RewardBench", "VL-RewardBench", "another file of pairs"):
        assert row(section(text, "Figures"), name) == ["not measured"]
    for way in ("critique, generate, K = 1", "critique, none, K = 1"):
        assert row(text, way) == ["not measured"] * 5
    assert "Not recorded." in section(text, "Training data")
    assert "settings not recorded" in section(text, "Recipe")
    assert "model-index" not in front_matter(text)


def test_figures_come_with_all_that_belongs_to_them(folder: Path, answers: Path) -> None:
    """n, interval and both baselines are those of the evaluation, and the conditions are told."""
    text = render(card_of(folder, [answers]))
    figures = section(text, "Figures")
    expected = report(read_answers(answers), "mm-rlhf")["overall"]
    assert row(figures, "overall | ACC") == [
        "ACC", "0.750", "{:.3f} - {:.3f}".format(*expected["acc_ci95_by_id"]), "4", "1", "0.500",
        "1.000",
    ]  # fmt: skip
    assert row(figures, "overall | ACC+")[1:4:2] == ["0.500", "2"]
    assert row(figures, "long | ACC")[1:5] == ["not measured", "not measured", "0", "0"]
    assert "critiques: 8; mode: generate" in figures
    assert "fingerprint of the service: 0123456789abcdef" in figures
    assert row(text, "several sampled critiques (K > 1)") != ["not measured"]
    assert row(text, "VL-RewardBench") == ["not measured"]
    (result,) = front_matter(text)["model-index"][0]["results"]
    assert result["metrics"] == [
        {"type": "accuracy", "value": 0.75, "name": "ACC"},
        {"type": "accuracy_plus", "value": 0.5, "name": "ACC+"},
    ]
    assert result["dataset"]["type"] == "mm-rlhf"


def test_a_report_and_its_answer_file_have_the_same_figures(answers: Path, tmp_path: Path) -> None:
    """The report does not tell how its answers came about; the card does not make it up."""
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(report(read_answers(answers), "mm-rlhf")))
    from_report, from_answers = read_evaluation(path), read_evaluation(answers)
    assert from_report.figures == from_answers.figures
    assert from_report.conditions == {}
    assert "Conditions: not recorded." in render(made(evaluations=(from_report,)))


def test_the_front_matter_is_what_the_hub_reads(folder: Path) -> None:
    """huggingface_hub reads it back, and finds nothing that it does not know."""
    from huggingface_hub import ModelCard as HubCard

    card = card_of(folder, license="mit", language="en", datasets=("yifanzhang114/MM-RLHF",))
    data = HubCard(render(card)).data.to_dict()
    assert data["library_name"] == "mmreward"
    assert data["pipeline_tag"] == "image-text-to-text"
    assert data["license"] == "mit"
    assert data["datasets"] == ["yifanzhang114/MM-RLHF"]
    assert {"reward-model", "critique"} <= set(data["tags"])


def test_calibrations_are_told_with_what_they_rest_on() -> None:
    calibration = Calibration(
        mode="none", temperature=0.75, interval_95=(0.5, 1.25), errors=44, pairs=400,
        method="isotonic", knots=[(1.0, 0.8)], overlap_checked=True,
    )  # fmt: skip
    text = render(made(spec=make_spec(calibration=[calibration])))
    assert row(text, "critique, none, K = 1") == [
        "isotonic, 1 knots", "0.75", "0.5 - 1.25", "44 of 400", "looked up, none",
    ]  # fmt: skip
    assert row(text, "critique, generate, K = 1") == ["not measured"] * 5


def test_the_run_tells_data_and_recipe(folder: Path) -> None:
    """Counts as recorded, files by name alone, nested settings with dots, the run's own figure."""
    run = folder / "run"
    run.mkdir()
    settings = {
        "model": "/somewhere/of/mine/Qwen2.5-VL-3B",
        "data": {"train": ["/private/a.jsonl"], "validation": ["/private/b.jsonl"]},
        "loss": {"centring": 0.01, "critique": 0.0},
    }
    result = {
        "steps": 3,
        "rows": {
            "source": {"files": ["/private/a.jsonl"]}, "rows": 100, "pairs": 90, "bad": 7,
            "missing_images": 3, "unusable": 0, "ties": 2, "fingerprint": "cd" * 32,
        },
        "validation": {"eval_accuracy": 0.9, "eval_judged": 40, "eval_unfinished": 2},
    }  # fmt: skip
    (run / "config.json").write_text(json.dumps(settings))
    (run / "result.json").write_text(json.dumps(result))
    text = render(card_of(folder))
    assert "/private" not in text
    assert "/somewhere" not in text
    data = section(text, "Training data")
    assert row(data, "sources") == ["a.jsonl"]
    assert row(data, "left out") == ["7 bad, 3 missing images, 0 unusable"]
    assert row(data, "pairs trained on") == ["90"]
    assert row(section(text, "Recipe"), "loss.centring") == ["`0.01`"]
    assert row(section(text, "Figures"), "overall")[1:] == [
        "0.900", "0.769 - 0.960", "40", "2", "not measured", "not measured",
    ]  # fmt: skip
    assert "Conditions: mode: none." in text
    assert row(text, "score without a critique (mode `none`)") != ["not measured"]
    assert front_matter(text)["base_model"] == "Qwen2.5-VL-3B"


def test_a_folder_without_its_run_tells_what_its_config_has(folder: Path) -> None:
    """Number and fingerprint of the training rows travel in config.json; sources do not."""
    config = json.loads((folder / "config.json").read_text())
    config["reward"]["training_rows"] = {"rows": 1234, "sha256": "ef" * 32}
    (folder / "config.json").write_text(json.dumps(config))
    data = section(render(card_of(folder)), "Training data")
    assert row(data, "pairs trained on") == ["1,234"]
    assert row(data, "fingerprint") == [f"`{'ef' * 32}`"]
    assert row(data, "sources") == row(data, "left out") == ["not recorded"]


@pytest.mark.parametrize("content", ["[]", "{}", "nonsense", '{"benchmark": "mm-rlhf"}'])
def test_what_is_no_result_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "result.json"
    path.write_text(content)
    with pytest.raises(CardError, match=r"result.json is no report"):
        read_evaluation(path)


def test_answers_of_two_models_are_refused(answers: Path) -> None:
    changed = answers.read_text().replace("0123456789abcdef", "f" * 16, 1)
    answers.write_text(changed)
    with pytest.raises(CardError, match="2 origins"):
        read_evaluation(answers)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"value": 0.5}, "without its number"),
        ({"value": 0.5, "n": 0}, "without its number"),
        ({"value": 1.5, "n": 3}, "no share"),
        ({"value": float("nan"), "n": 3}, "no share"),
        ({"value": 0.5, "n": 3, "longer_wins": -0.1}, "no share"),
        ({"value": 0.5, "n": 3, "interval_95": (0.6, 0.4)}, "no interval"),
    ],
)
def test_a_figure_that_cannot_be_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Figure("overall", "ACC", **fields)


def test_a_finding_on_an_unknown_topic_is_refused() -> None:
    """It would not be shown."""
    with pytest.raises(ValueError, match="no card has"):
        made(findings={"smell": "good"})


@given(st.text(max_size=40))
def test_no_name_breaks_a_table(name: str) -> None:
    """Whatever a file is called, a row has the cells of its head and opens no tag."""
    text = render(made(data=Data(sources=(name,), rows=1)))
    (line,) = [one for one in text.splitlines() if one.startswith("| sources |")]
    assert line.replace("\\|", "").count("|") == 3
    assert "<" not in line


@given(st.dictionaries(st.text("ab", min_size=1), st.integers() | st.just({}), max_size=4))
def test_settings_are_flattened_without_loss(settings: dict[str, Any]) -> None:
    assert dict(flattened({"x": settings, "y": 1} if settings else {"y": 1}))["y"] == 1
    assert dict(flattened(settings)) == settings


def test_what_people_add_is_kept(folder: Path) -> None:
    """Below the last line of the card; the card above is made anew."""
    path = write_model_card(folder, made(summary="First."))
    path.write_text(path.read_text() + "\n## Our notes\n\nKeep me.\n")
    before = path.read_text().split("<!--")[1]
    write_model_card(folder, made(summary="Second."))
    assert "First." not in path.read_text()
    assert "Second." in path.read_text()
    assert path.read_text().split("<!--")[1] == before


def test_a_page_of_somebody_else_is_not_lost(folder: Path) -> None:
    (folder / "README.md").write_text("Mine.")
    with pytest.raises(CardError, match="left as it is"):
        write_model_card(folder, made())
    assert (folder / "README.md").read_text() == "Mine."
    write_model_card(folder, made(), overwrite=True)
    assert (folder / "README.before.md").read_text() == "Mine."
    (folder / "README.md").write_text("Mine again.")
    with pytest.raises(CardError, match="is there already"):
        write_model_card(folder, made(), overwrite=True)
    assert (folder / "README.md").read_text() == "Mine again."


def test_the_command(folder: Path, answers: Path) -> None:
    """Writes README.md of the folder with the weights it is of; a missing file is exit 1."""
    run = CliRunner().invoke(
        app, ["card", str(folder), "--evaluation", str(answers), "--name", "Judge Dredd"]
    )
    assert run.exit_code == 0, run.output
    text = (folder / "README.md").read_text()
    assert "\n# Judge Dredd\n" in text
    assert weights_fingerprint(folder) in text
    assert list(folder.glob("*.part")) == []
    missing = CliRunner().invoke(app, ["card", str(folder), "--evaluation", "nowhere.jsonl"])
    assert missing.exit_code == 1
    assert "nowhere.jsonl" in missing.stderr
