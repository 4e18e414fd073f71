"""`mmreward-train import`: what it prints, what it writes, and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from foreign_models import llava_next
from mmreward_service.check.report import check_checkpoint
from mmreward_service.settings import Settings
from mmreward_trainer.cli.main import app
from mmreward_trainer.importing.command import RECORD_FILE
from safetensors.torch import load_file
from typer.testing import CliRunner, Result


def run(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["import", *map(str, arguments)])


def options(given: dict[str, Path]) -> list[object]:
    pairs = [("--" + name.replace("_", "-"), file) for name, file in given.items()]
    return [part for pair in pairs for part in pair]


def test_a_dry_run_shows_the_mapping_and_writes_nothing(
    llava_source: Path, given_files: dict[str, Path], tmp_path: Path
) -> None:
    """Names, counts, head, slot, templates."""
    output = tmp_path / "out"
    done = run(llava_source, output, "--dry-run", *options(given_files))
    assert done.exit_code == 0, done.output
    assert not output.exists()
    text = " ".join(done.output.split())
    assert "model.mm_projector.*.weight multi_modal_projector.linear_1.weight 1 F32" in text
    assert "model.layers.*.mlp.up_proj.weight" in text
    assert "rm_head.out_proj.weight reward_head.out.weight 1 F32 head" in text
    assert "score slot 511" in text
    assert "The answer says {response}" in text


def test_the_output_would_be_served(imported_llava: Path) -> None:
    """By the same check that --check runs, golden scores included."""
    settings = Settings(checkpoint=imported_llava)
    report = check_checkpoint(imported_llava, settings, parity=True)
    assert [f"{f.topic}: {f.text}" for f in report.findings.problems] == []
    assert report.parity_error is not None
    assert report.parity_error < 1e-4


def test_every_tensor_is_the_source_s_bit_for_bit(imported_llava: Path) -> None:
    """No tensor was cast, copied wrongly, or lost."""
    written: dict[str, object] = {}
    for file in imported_llava.glob("*.safetensors"):
        written |= load_file(file)
    record = json.loads((imported_llava / RECORD_FILE).read_text())
    source = llava_next.random_tensors(512, 0)
    assert {row["source"] for row in record["tensors"]} == set(source)
    for row in record["tensors"]:
        assert written[row["target"]].equal(source[row["source"]])  # type: ignore[attr-defined]
    assert len(written) == len(source)


def test_nothing_of_the_source_s_pickles_is_copied(imported_llava: Path) -> None:
    """Published folders hold training_args.bin."""
    assert not list(imported_llava.glob("*.bin"))


def test_refusals_are_one_line_each_and_exit_code_1(
    llava_copy: Path, given_files: dict[str, Path], tmp_path: Path
) -> None:
    """On standard error, by name; nothing is written."""
    (llava_copy / "config.json").write_text("{}")
    done = run(llava_copy, tmp_path / "out", *options(given_files))
    assert done.exit_code == 1
    assert done.stderr.startswith("mmreward-train import: ")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "arguments", [["--form", "other"], ["--golden", "int8"], ["--max-critique-tokens", "0"]]
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], tmp_path: Path) -> None:
    """Told before anything is read."""
    assert run(tmp_path, tmp_path / "out", *arguments).exit_code == 2


def test_golden_items_can_be_left_out(
    llava_source: Path, given_files: dict[str, Path], tmp_path: Path
) -> None:
    """Where the machine cannot hold the model; the check then says what is lost."""
    output = tmp_path / "out"
    done = run(llava_source, output, "--golden", "none", *options(given_files))
    assert done.exit_code == 0, done.output
    assert json.loads((output / "config.json").read_text())["reward"]["golden"] == []


def test_the_page_names_every_option_and_form(root: Path) -> None:
    """docs/import.md and the command tell the same."""
    page = (root / "docs" / "import.md").read_text()
    told = run("--help").output
    for option in set(re.findall(r"--[a-z][a-z-]+", told)) - {"--help"}:
        assert option in page, option
    for form in ("llava-qwen", "sequence-classification", "value-head"):
        assert f"`{form}`" in page


@pytest.fixture
def root() -> Path:
    return Path(__file__).parents[3]
