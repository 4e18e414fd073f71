"""A judge alone and a stock judge: the check says what the service would do with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mmreward_service.engine.build import build_engine
from mmreward_service.reward.judge_templates import judge_templates
from mmreward_service.settings import Settings
from tiny_models import build_tiny_stock

from .conftest import check, problems
from .test_check_command import report_of, run


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody's instruct model."""
    folder: Path = tmp_path_factory.mktemp("stock")
    build_tiny_stock(folder, "qwen2_5_vl")
    return folder


def refusal(folder: Path, **settings: Any) -> str:
    """What the service itself says at its start."""
    with pytest.raises(ValueError, match=r".") as refused:
        build_engine(Settings(checkpoint=folder, **settings))
    return str(refused.value)


def test_a_stock_model_would_serve_as_a_judge_and_not_without(stock: Path) -> None:
    """The setting makes the difference, for the check and for the service alike."""
    report = check(stock, stock_judge="default")
    assert problems(report) == []
    said = {finding.topic: finding.text for finding in report.findings.found}
    assert said["templates"].startswith("judge: ")
    assert said["architecture"].endswith("served as Qwen2_5_VLForConditionalGeneration")
    assert "no golden scores" in said["golden"]
    build_engine(Settings(checkpoint=stock, stock_judge="default"))
    assert any("no `reward` object" in problem for problem in problems(check(stock)))
    assert "no `reward` object" in refusal(stock)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (None, "No such file"),
        ("{", "Invalid JSON"),
        ("{}", "image: Field required"),
        ('{"judge": "{media}{prompt}{first}"}', "{second}"),
        ("no judge", "no template 'judge'"),
    ],
)
def test_bad_templates_are_named(stock: Path, tmp_path: Path, text: str | None, word: str) -> None:
    """File and reason, the same from both."""
    file = tmp_path / "templates.json"
    whole = judge_templates("qwen2_5_vl").model_dump()
    if text == "no judge":
        text = json.dumps({**whole, "judge": None, "critique": "{media}{prompt}{response}"})
    elif text is not None and "media" in text:
        text = json.dumps({**whole, **json.loads(text)})
    if text is not None:
        file.write_text(text)
    (problem,) = [p for p in problems(check(stock, stock_judge=file)) if "stock_judge" in p]
    assert word in problem
    assert word in refusal(stock, stock_judge=file)
    assert str(file) in problem


def test_a_reward_model_is_no_stock_model(digits: Path) -> None:
    """It has templates of its own, and scores that were calibrated with them."""
    assert any("templates of its own" in p for p in problems(check(digits, stock_judge="default")))
    assert "templates of its own" in refusal(digits, stock_judge="default")


def test_a_family_without_default_templates_needs_a_file(stock: Path, tmp_path: Path) -> None:
    """Any class that vLLM serves will do, with templates."""
    folder = tmp_path / "other"
    folder.mkdir()
    for file in stock.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((stock / "config.json").read_text())
    (folder / "config.json").unlink()
    changed = {**config, "model_type": "other_vl", "architectures": ["OtherVL"]}
    (folder / "config.json").write_text(json.dumps(changed))
    assert any("other_vl" in problem for problem in problems(check(folder, stock_judge="default")))
    templates = tmp_path / "templates.json"
    templates.write_text(judge_templates("qwen2_5_vl").model_dump_json())
    report = check(folder, stock_judge=templates)
    assert problems(report) == []
    assert any("if vLLM serves it" in finding.text for finding in report.findings.found)


def test_a_trained_judge_alone_needs_no_head(stock: Path, tmp_path: Path) -> None:
    """Kinds ["judge"] in the folder itself: no slot, no head, no golden scores, no complaint."""
    folder = tmp_path / "judge"
    folder.mkdir()
    for file in stock.iterdir():
        (folder / file.name).symlink_to(file)
    config = json.loads((stock / "config.json").read_text())
    config["reward"] = {
        "kinds": ["judge"],
        "templates": judge_templates("qwen2_5_vl").model_dump(),
        "max_critique_tokens": 64,
        "max_judgement_tokens": 9000,
        "trainer_version": "t",
    }
    (folder / "config.json").unlink()
    (folder / "config.json").write_text(json.dumps(config))
    (problem,) = problems(check(folder))
    assert problem.startswith("length: a judge of 9000 tokens leaves no room")
    config["reward"]["max_judgement_tokens"] = 128
    (folder / "config.json").write_text(json.dumps(config))
    assert problems(check(folder)) == []
    build_engine(Settings(checkpoint=folder))


def test_the_command_takes_the_option_and_needs_no_torch(stock: Path) -> None:
    """--check --stock-judge default, on a machine without any of the heavy packages."""
    command = ["--check", str(stock), "--json", "--stock-judge"]
    done = run(*command, "default", blocked="vllm torch transformers numpy")
    assert (done.returncode, report_of(done)["would_serve"]) == (0, True)
    done = run(*command, "nowhere.json")
    assert done.returncode == 1
    assert any("nowhere.json" in problem for problem in report_of(done)["problems"])
