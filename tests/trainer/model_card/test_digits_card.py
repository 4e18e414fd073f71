"""The card of the bundled model: its own figures, and nobody else's."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from mmreward_service.reward.checkpoint import weights_fingerprint
from mmreward_trainer.digits.card import digits_card
from mmreward_trainer.digits.evaluate import draw_pairs
from mmreward_trainer.digits.metrics import share
from mmreward_trainer.digits.pairs import KINDS
from mmreward_trainer.model_card import CardError
from mmreward_trainer.model_card.rendering import render

DIGITS = Path(__file__).parents[3] / "models" / "digits"
COUNT = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The bundled folder without its weights' bulk being touched."""
    return Path(shutil.copytree(DIGITS, tmp_path / "digits", ignore=lambda *_: {"README.md"}))


@pytest.fixture
def result(folder: Path, tmp_path: Path) -> Path:
    """A result file as the benchmark writes it, three of four pairs right."""
    pairs = draw_pairs("test", "trained", COUNT)

    def longer(members: list[Any]) -> float:
        gaps = [len(one.chosen.text) - len(one.rejected.text) for one in members]
        return round(sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps), 4)

    def cell(kind: str, is_hard: bool) -> dict[str, Any]:
        members = [p for p in pairs if kind in (p.kind, "all") and p.is_hard is is_hard]
        return {"accuracy": share(n % 4 > 0 for n in range(len(members))), "pairs": len(members)}

    table = {k: {"clean": cell(k, False), "hard": cell(k, True)} for k in (*KINDS, "all")}
    seed = {
        "seed": 0,
        "weights": weights_fingerprint(folder),
        "baselines": {"random": 0.5, "longer_wins": {"all": longer(pairs)}},
        **{
            name: {"accuracy": table}
            for name in ("trained_wordings", "held_wordings", "no_critique", "sampled_8")
        },
    }
    part = {"mean": 0.9, "min": 0.8, "max": 0.95}
    found = {
        "split": "test",
        "summary": {"trained_wordings": {"all": {"clean": part, "hard": part}}},
        "seeds": [{**seed, "weights": "0" * 64}, seed],
    }
    path = tmp_path / "result.json"
    path.write_text(json.dumps(found))
    return path


def test_without_results_nothing_is_measured(folder: Path) -> None:
    """Straight after training: no figure is taken from the record's validation pairs."""
    text = render(digits_card(folder))
    assert "| all | ACC | not measured |" in text
    assert "model-index" not in text
    record = json.loads((folder / "training_record.json").read_text())
    assert record["training_rows"]["first_rows_sha256"] in text
    assert f"| learning_rate | `{record['settings']['learning_rate']}` |" in text


def test_figures_of_these_weights(folder: Path, result: Path) -> None:
    """With the longer answer's share on the very same pairs, and the spread over the seeds."""
    card = digits_card(folder, [result])
    text = render(card)
    clean = [one for one in draw_pairs("test", "trained", COUNT) if not one.is_hard]
    figure = card.evaluations[0].figures[0]
    assert (figure.part, figure.n) == ("all, clean", len(clean))
    wins = [len(p.chosen.text) > len(p.rejected.text) for p in clean]
    ties = [len(p.chosen.text) == len(p.rejected.text) for p in clean]
    assert figure.longer_wins == pytest.approx((sum(wins) + sum(ties) / 2) / len(clean), abs=1e-4)
    assert figure.interval_95 is not None
    assert figure.interval_95[0] < figure.value < figure.interval_95[1]
    assert "2 seeds, trained wordings: clean 0.900 (0.800 - 0.950)" in text


def test_pairs_that_are_drawn_otherwise_have_no_baseline(folder: Path, result: Path) -> None:
    """The generator has changed since the result: its texts are not the measured ones."""
    found = json.loads(result.read_text())
    found["seeds"][1]["baselines"]["longer_wins"]["all"] = 0.1234
    result.write_text(json.dumps(found))
    figures = digits_card(folder, [result]).evaluations[0].figures
    assert {figure.longer_wins for figure in figures} == {None}


def test_figures_of_other_weights_are_refused(folder: Path, result: Path) -> None:
    found = json.loads(result.read_text())
    del found["seeds"][1]
    result.write_text(json.dumps(found))
    with pytest.raises(CardError, match="no figures of these weights"):
        digits_card(folder, [result])


def test_another_file_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text("{}")
    with pytest.raises(CardError, match="no result"):
        digits_card(folder, [path])
