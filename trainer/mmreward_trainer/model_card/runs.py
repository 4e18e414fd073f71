"""The card of a checkpoint that a training run of this project left, from its own records.

`mmreward-train critique` leaves `run/config.json` and `run/result.json` in the folder,
`mmreward-train digits` a `training_record.json`. A folder without either gets a card too: it says
that data and recipe were not recorded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmreward_client.evaluation.intervals import wilson
from mmreward_service.reward.checkpoint import load_spec, read_config, weights_fingerprint

from mmreward_trainer.model_card.card import Data, Evaluation, Figure, ModelCard
from mmreward_trainer.model_card.evaluations import mode_findings, read_evaluation
from mmreward_trainer.model_card.writing import CardError

INTENDED_USE = (
    "preferring one of several answers to the same question about an image or a video: choosing "
    "among samples, filtering, making or weighting preference pairs",
    "reading why: the critique is written before the score and is returned with it",
)
LIMITS = (
    "A score has no unit and no zero. Only scores of answers to the same prompt can be compared.",
    "The figures hold for data like those they are of. On any other, measure first "
    "(`mmreward evaluate`), with the baselines beside.",
    "A critique may be wrong where the score is right, and the other way round.",
    "`score_stderr` is the noise of sampling critiques, not the model's uncertainty.",
)
_LEFT_OUT = ("bad", "missing_images", "unusable")
_FACTS = ("with_reasons", "without_reasons", "ties")
_PATHS = ("model", "data.train", "data.validation", "data.image_root", "reward.templates")


def card_of(folder: Path, evaluations: Sequence[Path] = (), **said: Any) -> ModelCard:
    """What is known of a checkpoint folder, with the figures of these files.

    Args:
        said: fields of ModelCard that no record holds, such as `license`, `summary`, `language`.

    Raises:
        CardError: a record or a file of figures is not what it should be.
        CheckpointError: the folder is no checkpoint.
        OSError: a file cannot be read.
    """
    spec = load_spec(folder)
    read = tuple(read_evaluation(path) for path in evaluations)
    config, result = _record(folder, "config.json"), _record(folder, "result.json")
    settings = without_folders(config or {})
    measured = _validation(result or {}, settings)
    everything = (*measured, *read)
    fields: dict[str, Any] = {
        "name": folder.resolve().name,
        "summary": f"A reward model ({', '.join(spec.kinds)}) for answers about images and videos.",
        "spec": spec,
        "weights_sha256": weights_fingerprint(folder),
        "intended_use": INTENDED_USE,
        "limits": LIMITS,
        "data": _data(result) or _listed(spec.training_rows),
        "command": (result or {}).get("command", "mmreward-train critique") if config else None,
        "recipe": settings,
        "evaluations": everything,
        "findings": mode_findings(everything),
        "versions": saved_versions(folder),
        "base_model": settings.get("model"),
    }
    return ModelCard(**{**fields, **{name: one for name, one in said.items() if one is not None}})


def without_folders(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the bare names of files: where they lay on one machine is nobody's business."""

    def shown(value: Any) -> Any:
        if isinstance(value, list):
            return [shown(one) for one in value]
        return Path(value).name if isinstance(value, str) else value

    def walk(part: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        made = {}
        for name, value in part.items():
            if isinstance(value, Mapping):
                made[name] = walk(value, f"{prefix}{name}.")
            else:
                made[name] = shown(value) if prefix + name in _PATHS else value
        return made

    return walk(settings, "")


def saved_versions(folder: Path) -> dict[str, str]:
    """What config.json tells of the libraries that wrote it."""
    config = read_config(folder)
    found = {"transformers": config.get("transformers_version"), "dtype": config.get("dtype")}
    return {name: str(value) for name, value in found.items() if value is not None}


def share_figure(part: str, value: float | None, pairs: int, **others: Any) -> Figure:
    """ACC over pairs, with Wilson's interval of the right ones."""
    interval = wilson(round(value * pairs), pairs) if value is not None and pairs else None
    return Figure(part, "ACC", value if pairs else None, pairs, interval, **others)


def _record(folder: Path, name: str) -> dict[str, Any] | None:
    path = folder / "run" / name
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CardError(f"{path} is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise CardError(f"{path} does not hold an object")
    return found


def _data(result: Mapping[str, Any] | None) -> Data | None:
    rows = (result or {}).get("rows")
    if not isinstance(rows, Mapping):
        return None
    source = rows.get("source") or {}
    facts = {name.replace("_", " "): str(rows[name]) for name in _FACTS if name in rows}
    return Data(
        sources=tuple(Path(file).name for file in source.get("files", [])),
        rows=rows.get("rows"),
        pairs=rows.get("pairs"),
        fingerprint=rows.get("fingerprint"),
        left_out={name: rows[name] for name in _LEFT_OUT if name in rows},
        facts=facts,
    )


def _listed(training_rows: Mapping[str, Any]) -> Data | None:
    """What the reward object alone tells: a folder may come without the records of its run."""
    rows, digest = training_rows.get("rows"), training_rows.get("sha256")
    if not isinstance(rows, int) and not isinstance(digest, str):
        return None
    return Data(
        sources=(),
        pairs=rows if isinstance(rows, int) else None,
        fingerprint=digest if isinstance(digest, str) else None,
    )


def _validation(result: Mapping[str, Any], settings: Mapping[str, Any]) -> tuple[Evaluation, ...]:
    """The run's own validation figure, if it measured one."""
    last = result.get("validation")
    if not isinstance(last, Mapping) or last.get("eval_accuracy") is None:
        return ()
    files = (settings.get("data") or {}).get("validation") or ["?"]
    figure = share_figure(
        "overall",
        float(last["eval_accuracy"]),
        int(last["eval_judged"]),
        failed=int(last["eval_unfinished"]),
    )
    note = (
        "Measured by the trainer at the end of the run, pairs taken as independent. Validation "
        "pairs were looked at while training; baselines need the texts: see `mmreward evaluate`."
    )
    return (
        Evaluation(
            name=f"validation pairs of the run ({', '.join(files)})",
            dataset="validation",
            figures=(figure,),
            conditions=result.get("validation_conditions")
            or _conditions((settings.get("loss") or {}).get("critique")),
            note=note,
        ),
    )


def _conditions(critique_weight: Any) -> dict[str, str]:
    """A model that learned no critiques is judged without, as it is served."""
    if critique_weight is None:
        return {}
    if not critique_weight:
        return {"mode": "none"}
    return {"mode": "generate", "critiques": "1", "sampling": "greedy, its own critiques"}
