"""The model card of the bundled model, from its training record and its measured figures.

Figures come from `benchmarks/digits_accuracy.py`, and only those of the weights in the folder: a
result file of other weights is refused. Their pairs share pictures, so the intervals, which take
pairs as independent, are too narrow; the card says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmreward_service.reward.checkpoint import load_spec, weights_fingerprint

from mmreward_trainer.digits.evaluate import draw_pairs
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import KINDS, Pair
from mmreward_trainer.digits.wordings import Wording
from mmreward_trainer.model_card.card import Data, Evaluation, Figure, ModelCard
from mmreward_trainer.model_card.runs import LIMITS, saved_versions, share_figure
from mmreward_trainer.model_card.writing import CardError

RECORD_FILE = "training_record.json"
_SETS: dict[str, tuple[str, Wording, str, str]] = {
    "trained_wordings": ("trained wordings", "trained", "generate", "1"),
    "held_wordings": ("wordings never trained", "held", "generate", "1"),
    "no_critique": ("trained wordings, no critique", "trained", "none", "1"),
    "sampled_8": ("trained wordings, eight critiques", "trained", "generate", "8"),
}
_PARTS = ("clean", "hard")
_SUMMARY = (
    "A critique reward model for handwritten digits, about a million parameters. It looks "
    "at a digit or a 2x2 mosaic of four, writes a critique of an answer, and gives it a "
    "score. "
)
_JUDGES = (
    "It also judges two answers at once, with a judgement that ends in a score for each "
    "(figures: docs/bundled-judge.md). "
)
_PURPOSE = "It is there to show and to test the service."


def digits_card(folder: Path, results: Sequence[Path] = ()) -> ModelCard:
    """The card of a folder that `mmreward-train digits` wrote.

    Args:
        results: result files of `benchmarks/digits_accuracy.py`; none: test figures are told as not
            measured.

    Raises:
        CardError: the record is missing, or a result is not of these weights.
        OSError: a file cannot be read.
    """
    record, spec = _json(folder / RECORD_FILE), load_spec(folder)
    weights = weights_fingerprint(folder)
    evaluations: list[Evaluation] = []
    findings: dict[str, str] = {}
    for path in results:
        found = _json(path)
        own = _own_result(found, weights, path)
        evaluations += _evaluations(own, found.get("scores_alone"))
        findings |= _findings(found, own)
    return ModelCard(
        name="mmreward-digits",
        summary=_SUMMARY + (_JUDGES if "judge" in spec.kinds else "") + _PURPOSE,
        spec=spec,
        weights_sha256=weights,
        intended_use=(
            "demonstrations and tests of the service with a model that really reads its pictures",
        ),
        limits=(
            "It reads handwritten digits and nothing else, in English wordings of seven kinds of "
            "question.",
            LIMITS[0],
            "It is no evidence for or against the method at a useful size.",
        ),
        data=_data(record.get("training_rows", {})),
        command=record.get("command"),
        recipe=record.get("settings", {}),
        evaluations=tuple(evaluations) or (_unmeasured(),),
        findings=findings,
        versions={**saved_versions(folder), **record.get("versions", {})},
        license="apache-2.0",
        language="en",
    )


def _data(rows: Mapping[str, Any]) -> Data:
    digests = {
        name.replace("_", " "): f"`{value}`"
        for name, value in rows.items()
        if "sha256" in name and name != "first_rows_sha256"
    }
    return Data(
        sources=(str(rows.get("source", "not recorded")),),
        rows=rows.get("pairs"),
        pairs=rows.get("pairs"),
        fingerprint=rows.get("first_rows_sha256"),
        left_out={},  # rows are generated: none can be bad
        facts={
            "pictures": str(rows.get("pictures", "not recorded")),
            **digests,
            "how rows come about": "drawn anew in every step, pictures distorted at random; the "
            "fingerprint is of the first thousand",
            "what is kept apart": "pictures: those of validation and test are in no training row",
        },
    )


def _evaluations(own: Mapping[str, Any], alone: Mapping[str, Any] | None) -> list[Evaluation]:
    made = []
    has_texts = _are_the_measured_pairs(own)
    for name, (title, wording, mode, critiques) in _SETS.items():
        table = own[name]["accuracy"]
        longer = _longer_wins(own["split"], wording, _pairs(table)) if has_texts else {}
        figures = [
            share_figure(
                f"{kind}, {part}",
                table[kind][part]["accuracy"],
                table[kind][part]["pairs"],
                # Ties and unfinished critiques count as wrong here, so none is left out.
                failed=0,
                random=own["baselines"]["random"],
                longer_wins=longer.get((kind, part)),
            )
            for kind in ("all", *KINDS)
            for part in _PARTS
            if table[kind][part]["pairs"]
        ]
        made.append(
            Evaluation(
                name=f"digits, {title}",
                dataset=f"digits-{name.replace('_', '-')}",
                figures=tuple(figures),
                conditions={
                    "pictures": f"{own['split']} split",
                    "mode": mode,
                    "critiques": critiques,
                    "sampling": "greedy" if critiques == "1" else "temperature 1",
                    "training seed": str(own["seed"]),
                },
                note=_note(name, own, alone),
            )
        )
    return made


def _pairs(table: Mapping[str, Any]) -> int:
    return sum(int(table["all"][part]["pairs"]) for part in _PARTS)


def _are_the_measured_pairs(own: Mapping[str, Any]) -> bool:
    """Whether the generator still draws the pairs of the result file, by a share recorded there."""
    drawn = draw_pairs(own["split"], "trained", _pairs(own["trained_wordings"]["accuracy"]))
    return bool(_longer(drawn) == own["baselines"]["longer_wins"]["all"])


def _longer_wins(split: Split, wording: Wording, count: int) -> dict[tuple[str, str], float]:
    """How often the longer answer is the true one, by kind and part; equal lengths count half."""
    drawn = draw_pairs(split, wording, count)
    found: dict[tuple[str, str], float] = {}
    for kind in ("all", *KINDS):
        for part in _PARTS:
            members = [
                one
                for one in drawn
                if kind in ("all", one.kind) and one.is_hard is (part == "hard")
            ]
            if members:
                found[kind, part] = _longer(members)
    return found


def _longer(pairs: Sequence[Pair]) -> float:
    gaps = [len(one.chosen.text) - len(one.rejected.text) for one in pairs]
    return round(sum((gap > 0) + 0.5 * (gap == 0) for gap in gaps) / len(gaps), 4)


def _note(name: str, own: Mapping[str, Any], alone: Mapping[str, Any] | None) -> str:
    said = (
        "Unfinished critiques count as wrong. Pairs share pictures: the intervals are too narrow."
    )
    if name != "trained_wordings":
        return said
    said += " Longer wins: equal lengths count half."
    if alone is not None:
        cells = alone["accuracy"]["all"]
        said += (
            " A model of the same size trained on scores alone: "
            f"{cells['clean']['accuracy']:.3f} clean, {cells['hard']['accuracy']:.3f} hard."
        )
    return said


def _findings(found: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, str]:
    told = {
        "score without a critique (mode `none`)": "see the figures of mode none",
        "several sampled critiques (K > 1)": "see the figures of eight critiques",
    }
    seeds = found["seeds"]
    if len(seeds) > 1:
        cells = found["summary"]["trained_wordings"]["all"]
        told["spread over training seeds"] = f"{len(seeds)} seeds, trained wordings: " + ", ".join(
            f"{part} {mean:.3f} ({low:.3f} - {high:.3f})"
            for part in _PARTS
            for mean, low, high in [[cells[part][name] for name in ("mean", "min", "max")]]
        )
    return told


def _own_result(found: Mapping[str, Any], weights: str, path: Path) -> Mapping[str, Any]:
    seeds = found.get("seeds")
    if not isinstance(seeds, list):
        raise CardError(f"{path} is no result of benchmarks/digits_accuracy.py")
    own = [one for one in seeds if one.get("weights") == weights]
    if not own:
        raise CardError(f"{path} holds no figures of these weights ({weights[:12]}...)")
    result: Mapping[str, Any] = {**own[0], "split": found["split"]}
    return result


def _unmeasured() -> Evaluation:
    return Evaluation(
        name="digits, test pictures",
        dataset="digits-trained-wordings",
        figures=(Figure("all", "ACC", None),),
        note="`mmreward-train card FOLDER --evaluation RESULT` puts measured figures here.",
    )


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CardError(f"{path} is not there") from error
    except ValueError as error:
        raise CardError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CardError(f"{path} does not hold an object")
    return found
