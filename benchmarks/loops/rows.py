"""Rows of the three loops, made of the policy's own answers to questions about training pictures.

- `preferences`: two answers of the policy to each question, labelled by the truth, with noise that
  is known: `TIE_SHARE` of the pairs are equally false and labelled by a coin, `SWAPPED_SHARE` of
  the others have their labels swapped. The column `label` says which: right, swapped, tie.
- `corrections`: an answer of the policy with false statements, and the same answer with its false
  segments corrected (what people do for RLHF-V).
- `questions`: prompts for reinforcement learning, with the answer that is right.

Each file stands beside the folder of its pictures and is written once, at its end.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from mmreward_client.file_replacement import replace_file
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import Pair
from PIL import Image

from loops.corpus import draw_question, draw_questions
from loops.policy import Policy
from loops.statements import FORMS, corrected, decide, true_answer

TIE_SHARE = 0.15
SWAPPED_SHARE = 0.2
_SAMPLES = 6
_SPECIAL = "<|"
"""Begins every special token. A policy may sample one; no text that spells one is trained on."""
_CHUNK = 128
_PATIENCE = 20
"""Questions for each row that is wanted, before a policy is given up."""
# Questions of different uses are different draws; those of the corpus begin at 0.
_PREFERENCES, _CORRECTIONS, _QUESTIONS = 1000, 2000, 3000

SATURATED_DELTA = 12.0
"""Beyond 9.2 the paper's β (k = 0.5) has come 99 % of the way to its upper bound."""
_SATURATED_SLOPE = 0.1

Row = dict[str, Any]
Answered = Iterator[tuple[Pair, list[str]]]


def write_preferences(file: Path, policy: Path, seed: int, count: int) -> None:
    """`count` pairs of answers of the policy."""
    if file.is_file():
        return
    answered = _answered(policy, seed, _PREFERENCES, count)
    found = preferences(answered, np.random.default_rng((29, seed)))
    _write(file, list(itertools.islice(found, count)), count)


def preferences(answered: Answered, rng: np.random.Generator) -> Iterator[tuple[Pair, Row]]:
    """Rows in the shares of the labels: a label that is drawn waits for answers that it fits."""
    label = _draw_label(rng)
    for pair, answers in answered:
        row = preference(pair, answers, label, rng)
        if row is not None:
            yield pair, row
            label = _draw_label(rng)


def _draw_label(rng: np.random.Generator) -> str:
    if rng.random() < TIE_SHARE:
        return "tie"
    return "swapped" if rng.random() < SWAPPED_SHARE else "right"


def preference(pair: Pair, answers: list[str], label: str, rng: np.random.Generator) -> Row | None:
    """Two of the answers with this label; None where no two that it fits are there."""
    order = rng.permutation(len(answers))
    for i, j in itertools.combinations(order, 2):
        if answers[i] == answers[j] or _SPECIAL in answers[i] + answers[j]:
            continue
        first, second = (decide(pair, answers[one]) for one in (i, j))
        gap = second.false - first.false
        if (gap == 0) != (label == "tie"):
            continue
        # Of a tie the order is already a coin's.
        better, worse = (i, j) if gap >= 0 else (j, i)
        if label == "swapped":
            better, worse = worse, better
        return {"chosen": answers[better], "rejected": answers[worse], "label": label}
    return None


def write_corrections(file: Path, policy: Path, seed: int, count: int) -> None:
    """`count` corrected answers of the policy: chosen is the corrected one."""
    if file.is_file():
        return
    found: list[tuple[Pair, Row]] = []
    for pair, answers in _answered(policy, seed, _CORRECTIONS, count):
        for answer in answers:
            if _SPECIAL in answer:
                continue
            better = corrected(pair, answer)
            if better is not None:
                found.append((pair, {"chosen": better, "rejected": answer}))
                break
        if len(found) == count:
            break
    _write(file, found, count)


def write_questions(file: Path, split: Split, seed: int, count: int) -> None:
    """Questions with the right answer in `answer`."""
    if file.is_file():
        return
    pairs = draw_questions(split, _QUESTIONS + seed, count)
    _write(file, [(pair, {"answer": true_answer(pair)}) for pair in pairs], count)


def saturate(annotated: Path, file: Path) -> None:
    """The rows as a saturated reward model would annotate them: every δ large and positive.

    δ becomes 12 + δ / 10, whatever the label is worth: what a reward model gives that has learned
    these very labels by heart, the swapped ones too. A null stays null, so that the same pairs are
    trained on.
    """
    rows = read_rows(annotated)
    for row in rows:
        if row["delta"] is not None:
            row["delta"] = SATURATED_DELTA + _SATURATED_SLOPE * row["delta"]
        for name in ("beta", "prob", "delta_calibrated"):
            row.pop(name, None)
    replace_file(file, "".join(json.dumps(row) + "\n" for row in rows))


def read_rows(file: Path) -> list[Row]:
    with file.open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def _answered(policy: Path, seed: int, use: int, wanted: int) -> Answered:
    """Questions, each with answers that the policy samples at temperature 1."""
    model = Policy.load(policy)
    for chunk in range(1 + _PATIENCE * wanted // _CHUNK):
        pairs = [draw_question("train", use + seed, chunk * _CHUNK + i) for i in range(_CHUNK)]
        answers = model.answer(pairs, samples=_SAMPLES, temperature=1.0, seed=use + chunk)
        yield from zip(pairs, answers, strict=True)


def _write(file: Path, found: list[tuple[Pair, Row]], count: int) -> None:
    if len(found) < count:
        raise RuntimeError(f"{file.name}: the policy's answers make {len(found)} of {count} rows")
    images = file.with_suffix("")
    images.mkdir(parents=True, exist_ok=True)
    lines = []
    pictures = render_pictures([pair for pair, _ in found])
    for i, ((pair, row), picture) in enumerate(zip(found, pictures, strict=True)):
        Image.fromarray(picture).convert("RGB").save(images / f"{i}.png")
        common = {
            "id": f"{file.stem}_{i}",
            "images": [f"{images.name}/{i}.png"],
            "prompt": pair.prompt,
            "task": FORMS[pair.form],
        }
        lines.append(json.dumps({**common, **row}) + "\n")
    replace_file(file, "".join(lines))
