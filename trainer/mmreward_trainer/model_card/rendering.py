"""A model card as Markdown. Every section is always there; what is unknown is named as such."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mmreward_service.reward.spec import Calibration, RewardSpec

from mmreward_trainer.model_card.card import (
    BENCHMARKS,
    TOPICS,
    Data,
    Evaluation,
    Figure,
    ModelCard,
)
from mmreward_trainer.model_card.front_matter import front_matter

NOT_MEASURED = "not measured"
NOT_RECORDED = "not recorded"


def render(card: ModelCard) -> str:
    """The whole card, front matter included."""
    sections = [
        f"# {card.name}",
        card.summary,
        "## Use",
        _use(card),
        _bullets("Intended for", card.intended_use),
        "## Limits",
        _bullets("", card.limits),
        "## Figures",
        *_evaluations(card),
        "## Calibration",
        _calibration(card.spec.calibration),
        "## What else was measured, and what was not",
        _table(("question", "answer"), ((t, card.findings.get(t, NOT_MEASURED)) for t in TOPICS)),
        "## Training data",
        _data(card.data),
        "## Recipe",
        _recipe(card),
        "## Versions",
        _versions(card),
    ]
    return front_matter(card) + "\n" + "\n\n".join(one for one in sections if one) + "\n"


def _use(card: ModelCard) -> str:
    spec = card.spec
    critique = f"critiques of at most {spec.max_critique_tokens} tokens"
    return (
        "```sh\nmmreward-serve FOLDER    # this folder; HTTP on 127.0.0.1:8000\n```\n\n"
        "```python\nfrom mmreward_client import RewardClient\n\n"
        'with RewardClient("http://127.0.0.1:8000") as client:\n'
        '    pair = {"images": ["a.png"], "prompt": "What is it?", '
        '"chosen": "A cat.", "rejected": "A dog."}\n'
        "    result = client.pairs([pair]).data[0]\n"
        "    print(result.delta, result.prob)\n```\n\n"
        f"Kinds: {', '.join(spec.kinds)}. {_head(spec)}, "
        f"{critique}. {len(spec.golden)} golden scores, which a service compares with its own at "
        "its start. Loaded with transformers alone, the model has no head and gives no score."
    )


def _head(spec: RewardSpec) -> str:
    if spec.head is None:
        return "Scores stand in the text, there is no head"
    return f"Head: {spec.head.type}, read at `{spec.read_out}`"


def _evaluations(card: ModelCard) -> Iterator[str]:
    yield (
        "Right means: the chosen answer has strictly the higher score. A tie is wrong, a pair "
        "without a score is in no share and counted under *failed*. ACC is over pairs, ACC+ over "
        "questions all of whose pairs must be right. *random* and *longer wins* are what needs no "
        "model, on the same rows."
    )
    for evaluation in card.evaluations:
        yield _evaluation(evaluation)
    given = {
        evaluation.dataset if evaluation.dataset in BENCHMARKS else "pairs"
        for evaluation in card.evaluations
    }
    missing = [name for key, name in BENCHMARKS.items() if key not in given]
    if missing:
        yield _table(("data set", "figure"), ((name, NOT_MEASURED) for name in missing))


def _evaluation(evaluation: Evaluation) -> str:
    conditions = "; ".join(f"{name}: {value}" for name, value in evaluation.conditions.items())
    heads = ("part", "metric", "model", "95 %", "n", "failed", "random", "longer wins")
    parts = [
        f"### {_cell(evaluation.name)}",
        f"Conditions: {conditions or NOT_RECORDED}.",
        _table(heads, (_figure(figure) for figure in evaluation.figures)),
        evaluation.note or "",
    ]
    return "\n\n".join(part for part in parts if part)


def _figure(figure: Figure) -> tuple[str, ...]:
    low_high = figure.interval_95
    return (
        figure.part,
        figure.metric,
        _share(figure.value),
        NOT_MEASURED if low_high is None else f"{low_high[0]:.3f} - {low_high[1]:.3f}",
        NOT_MEASURED if figure.n is None else str(figure.n),
        NOT_RECORDED if figure.failed is None else str(figure.failed),
        _share(figure.random),
        _share(figure.longer_wins),
    )


def _calibration(calibrations: Sequence[Calibration]) -> str:
    """One row for each way that is calibrated, and for the usual ways that are not."""
    rows: list[tuple[str, ...]] = [
        (
            f"{one.kind}, {one.mode}, K = {one.critiques}",
            one.method if one.knots is None else f"{one.method}, {len(one.knots)} knots",
            f"{one.temperature:g}",
            f"{one.interval_95[0]:g} - {one.interval_95[1]:g}",
            f"{one.errors} of {one.pairs}",
            "looked up, none" if one.overlap_checked else "not looked up",
        )
        for one in calibrations
    ]
    held = {(one.mode, one.critiques) for one in calibrations}
    for mode in ("generate", "none"):
        if (mode, 1) not in held:
            rows.append((f"critique, {mode}, K = 1", *(NOT_MEASURED,) * 5))
    heads = ("way of scoring", "method", "temperature", "95 %", "errors", "overlap with training")
    said = (
        "`prob` is null for a way of scoring that is not in the table. A temperature rests on the "
        "pairs that are wrong; their number says how far it can be trusted."
    )
    return f"{_table(heads, rows)}\n\n{said}"


def _data(data: Data | None) -> str:
    if data is None:
        return f"{NOT_RECORDED.capitalize()}."
    counts = data.left_out or {}
    left_out = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items())
    rows = [
        ("sources", ", ".join(data.sources) or NOT_RECORDED),
        ("rows", _count(data.rows)),
        ("pairs trained on", _count(data.pairs)),
        ("left out", NOT_RECORDED if data.left_out is None else left_out or "none"),
        ("fingerprint", f"`{data.fingerprint}`" if data.fingerprint else NOT_RECORDED),
        *data.facts.items(),
    ]
    return _table(("", ""), rows)


def _recipe(card: ModelCard) -> str:
    command = f"`{card.command}`" if card.command else f"command {NOT_RECORDED}"
    if not card.recipe:
        return f"{command}; settings {NOT_RECORDED}."
    settings = ((name, f"`{value}`") for name, value in flattened(card.recipe))
    return f"{command}\n\n{_table(('setting', 'value'), settings)}"


def flattened(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings as (dotted name, value)."""
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _versions(card: ModelCard) -> str:
    rows = [
        ("weights, SHA-256", f"`{card.weights_sha256}`"),
        ("trainer", card.spec.trainer_version),
        *card.versions.items(),
    ]
    return _table(("", ""), rows)


def _bullets(title: str, lines: Iterable[str]) -> str:
    listed = "\n".join(f"- {line}" for line in lines)
    return f"{title}:\n\n{listed}" if title and listed else listed


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(_cell(str(cell)) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Names come from files of other people: one may not break the table or become markup."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def _share(value: float | None) -> str:
    return NOT_MEASURED if value is None else f"{value:.3f}"


def _count(value: int | None) -> str:
    return NOT_RECORDED if value is None else f"{value:,}"
