"""`mmreward-train calibrate` on the bundled model behind the real service."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from mmreward_service.reward.checkpoint import load_spec, weights_fingerprint
from mmreward_trainer.cli.main import app
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.pairs import draw_pair
from PIL import Image
from service_kit.real import DIGITS, real_service
from typer.testing import CliRunner

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

PAIRS = 240


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Pairs on validation pictures, written as anybody would: PNG files and JSON lines."""
    drawn = [draw_pair("validation", "trained", 7, index, hard_share=0.4) for index in range(PAIRS)]
    folder = tmp_path / "pairs"
    folder.mkdir()
    rows = []
    for number, (pair, picture) in enumerate(zip(drawn, render_pictures(drawn), strict=True)):
        Image.fromarray(picture).convert("RGB").save(folder / f"{number}.png")
        rows.append(
            {
                "id": str(number),
                "image": f"{number}.png",
                "prompt": pair.prompt,
                "chosen": pair.chosen.text,
                "rejected": pair.rejected.text,
                "category": pair.kind,
            }
        )
    path = folder / "validation.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_calibration_through_the_service_agrees_with_the_trainers_own(
    pairs: Path, tmp_path: Path
) -> None:
    """Other pairs of the same kind, answered by vLLM: the two 95 % intervals of T overlap; nothing
    but the calibration of this mode changes; the service is asked which weights it serves."""
    checkpoint = Path(shutil.copytree(DIGITS, tmp_path / "digits"))
    weights, report = weights_fingerprint(checkpoint), tmp_path / "report"
    own = load_spec(DIGITS).find_calibration("none", 1)
    assert own is not None
    with real_service(DIGITS, tmp_path / "log") as client:
        url = str(client.base_url).rstrip("/")
        done = CliRunner().invoke(
            app,
            ["calibrate", str(checkpoint), str(pairs), "--url", url, "--mode", "none",
             "--report", str(report), "--unchecked"],
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    found = load_spec(checkpoint).find_calibration("none", 1)
    assert found is not None
    assert found.pairs == PAIRS
    assert max(found.interval_95[0], own.interval_95[0]) < min(
        found.interval_95[1], own.interval_95[1]
    )
    told = json.loads((report / "report.json").read_text())
    assert not [note for note in told["notes"] if "serves" in note]
    assert told["fits"]["none-1"]["replaced"]["temperature"] == own.temperature
    others = [one for one in load_spec(DIGITS).calibration if one.key != own.key]
    assert [one for one in load_spec(checkpoint).calibration if one.key != own.key] == others
    assert weights_fingerprint(checkpoint) == weights
