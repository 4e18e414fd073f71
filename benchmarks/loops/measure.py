"""Exact measures of a policy on held-out pictures, by the truth about each picture.

Figures, all shares of answers but where said otherwise:

    hallucinated   answers with at least one false statement
    false          false statements, of all statements
    accuracy       answers that are right as a whole, see `statements.decide`
    unreadable     statements outside of the grammar, of all statements; they count as false
    characters     mean length of an answer, which a reward may inflate

Sampled answers (temperature 1) are what the policy is; greedy ones are what it is used as.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replace_file
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import Pair

from loops.corpus import draw_questions
from loops.policy import Policy
from loops.statements import FORMS, decide

_QUESTIONS_SEED = 0
FIGURES = ("hallucinated", "false", "accuracy", "unreadable", "characters")


def measure(folder: Path, split: Split, count: int, samples: int = 4) -> dict[str, Any]:
    """{"sampled": figures, "greedy": figures, "by_task": {task: sampled figures}}; kept beside."""
    file = folder / f"measured_{split}_{count}_{samples}.json"
    if file.is_file():
        kept: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return kept
    pairs = draw_questions(split, _QUESTIONS_SEED, count)
    policy = Policy.load(folder)
    sampled = policy.answer(pairs, samples=samples, temperature=1.0, seed=1)
    tasks = sorted({FORMS[pair.form] for pair in pairs})
    found = {
        "sampled": figures(pairs, sampled),
        "greedy": figures(pairs, policy.answer(pairs)),
        "by_task": {
            task: figures(*_of_task(pairs, sampled, task)) for task in tasks
        },
    }  # fmt: skip
    replace_file(file, json.dumps(found, indent=2) + "\n")
    return found


def _of_task(
    pairs: list[Pair], answers: list[list[str]], task: str
) -> tuple[list[Pair], list[list[str]]]:
    kept = [i for i, pair in enumerate(pairs) if FORMS[pair.form] == task]
    return [pairs[i] for i in kept], [answers[i] for i in kept]


def figures(pairs: list[Pair], answers: list[list[str]]) -> dict[str, float]:
    """Figures of the answers to each question."""
    told = [(pair, one) for pair, own in zip(pairs, answers, strict=True) for one in own]
    decided = [decide(pair, one) for pair, one in told]
    statements = sum(len(one.statements) for one in decided)
    return {
        "answers": len(decided),
        "hallucinated": sum(one.false > 0 for one in decided) / len(decided),
        "false": sum(one.false for one in decided) / statements,
        "accuracy": sum(one.is_right for one in decided) / len(decided),
        "unreadable": sum(one.unreadable for one in decided) / statements,
        "characters": sum(len(one) for _, one in told) / len(told),
    }
