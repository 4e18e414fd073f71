"""The reward object of a judge, by what it starts from."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmreward_service.reward.checkpoint import load_spec, write_spec
from mmreward_service.reward.judge_templates import SCORE_RANGE, judge_text
from mmreward_trainer.critique.configuration import ConfigError
from mmreward_trainer.judge.configuration import Judge
from mmreward_trainer.judge.specification import judge_specification
from tiny_models import build_tiny_checkpoint

from .conftest import Stock


def test_a_stock_model_becomes_a_judge_without_a_head(stock: Stock) -> None:
    """Scores stand in the text: no head and no slot."""
    spec = judge_specification(stock("qwen2_5_vl"), Judge(max_judgement_tokens=50))
    assert spec.kinds == ["judge"]
    assert spec.head is None
    assert spec.score_slot is None
    assert spec.max_tokens("judge") == 50
    assert spec.score_range == SCORE_RANGE
    assert spec.templates.judge == judge_text()


def test_a_critique_model_becomes_both(tmp_path: Path) -> None:
    """Head, slot and critique texts stay as they were; a judge's prompt and room come beside."""
    old = build_tiny_checkpoint(tmp_path, "qwen2_5_vl")
    spec = judge_specification(tmp_path, Judge())
    assert spec.kinds == ["critique", "judge"]
    assert (spec.head, spec.score_slot) == (old.head, old.score_slot)
    assert spec.templates.critique == old.templates.critique
    assert spec.max_tokens("critique") == old.max_critique_tokens
    assert spec.max_tokens("judge") == 1024
    # A second stage goes on with what the first one wrote.
    write_spec(tmp_path, spec.model_copy(update={"max_judgement_tokens": 33}))
    again = judge_specification(tmp_path, Judge())
    assert again.max_tokens("judge") == 33
    assert again.templates == load_spec(tmp_path).templates


def test_principles_stand_in_the_prompt_or_do_not(stock: Stock, tmp_path: Path) -> None:
    """The comparison of the paper's table 3 needs one setting."""
    file = tmp_path / "principles.txt"
    file.write_text("Never trust a red square.\n")
    spec = judge_specification(stock("qwen2_5_vl"), Judge(principles=file))
    assert "Never trust a red square." in str(spec.templates.judge)
    assert spec.templates.judge == judge_text("Never trust a red square.")
    with pytest.raises(ConfigError, match=r"judge\.principles"):
        judge_specification(stock("qwen2_5_vl"), Judge(principles=tmp_path / "none"))
    file.write_text("with {braces}")
    with pytest.raises(ConfigError, match="braces"):
        judge_specification(stock("qwen2_5_vl"), Judge(principles=file))


def test_templates_of_a_file_replace_the_folders(stock: Stock, tmp_path: Path) -> None:
    """The whole file for a judge alone, its judge's text beside a critique model's own."""
    build_tiny_checkpoint(tmp_path, "qwen2_5_vl")
    given = judge_specification(stock("qwen2_5_vl"), Judge()).templates
    text = (
        "<|im_start|>user\n{media}{prompt} A:{first} B:{second}<|im_end|>\n<|im_start|>assistant\n"
    )
    given = given.model_copy(update={"judge": text})
    file = tmp_path / "templates.json"
    file.write_text(given.model_dump_json())
    for folder in (stock("qwen2_5_vl"), tmp_path):
        spec = judge_specification(folder, Judge(templates=file))
        assert spec.templates.judge == text
        assert (spec.templates.critique is None) == (folder != tmp_path)
    file.write_text(given.model_copy(update={"judge": None}).model_dump_json())
    with pytest.raises(ConfigError, match="no template 'judge'"):
        judge_specification(tmp_path, Judge(templates=file))
