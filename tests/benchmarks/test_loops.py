"""The parts of the loops: what is true, what rows are made of, what a missing reward is."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from http_parts.processes import service
from loops import study
from loops.corpus import draw_question, draw_questions, falsehood, write_answer
from loops.measure import figures
from loops.missing import Missing, missing_margins, missing_rewards
from loops.policy import CHAT_TEMPLATE, Policy
from loops.rows import SATURATED_DELTA, preference, preferences, read_rows, saturate
from loops.statements import FORMS, corrected, decide, true_answer
from loops.tables import HEADER, row
from mmreward_client import dynamic_beta
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.pairs import Pair
from PIL import Image


def question(task: str, digits: tuple[int, ...], asked: str = "") -> Pair:
    """A question of this task about these digits."""
    pair = next(
        one for one in draw_questions("validation", 1, 8) if FORMS[one.form] == task
    )  # fmt: skip
    cells = tuple(replace(pair.cells[0], digit=digit) for digit in digits)
    return replace(pair, cells=cells, asked=asked)


COUNT = question("count", (3, 5, 3, 8), "3")
LOCATE = question("locate", (3, 5, 1, 8), "bottom right")


@pytest.mark.parametrize(
    ("pair", "answer", "false", "is_right"),
    [
        (question("list", (3, 5, 3, 8)), "I see 3 and 5. Below I see 3 and 8.", 0, True),
        (question("list", (3, 5, 3, 8)), "I see 3 and 9. Below I see 8 and 3.", 3, False),
        (question("list", (3, 5, 3, 8)), "I see 3 and 5.", 0, False),
        (question("list", (3, 5, 3, 8)), "The 3 is at the top left.", 0, False),
        (question("list", (3, 5, 3, 8)), "The count is 2.", 1, False),
        (question("describe", (7,)), "I see a 7. I see nothing else.", 0, True),
        (question("describe", (7,)), "I see a 7.", 0, False),
        (question("describe", (7,)), "I see a 7. I see a dog. I see a cat.", 2, False),
        (question("describe", (7,)), "I see a 1. I see nothing else.", 1, False),
        (COUNT, "Find 3: 3 yes, 5 no, 3 yes, 8 no. The count is 2.", 0, True),
        (COUNT, "Find 3: 3 yes, 5 no, 3 no, 8 no. The count is 1.", 2, False),
        (COUNT, "Find 3: 3 yes, 5 no, 3 yes, 3 yes. The count is 3.", 2, False),
        (COUNT, "Find 5: 3 no, 5 yes, 3 no, 8 no. The count is 2.", 0, False),
        (COUNT, "The count is 2.", 0, False),
        (LOCATE, "The 8 is at the bottom right.", 0, True),
        (LOCATE, "The 3 is at the top left.", 0, False),
        (LOCATE, "The 8 is at the top right.", 1, False),
        (LOCATE, "The 8 is up there", 1, False),
        (LOCATE, "", 1, False),
    ],
)  # fmt: skip
def test_the_picture_decides(pair: Pair, answer: str, false: int, is_right: bool) -> None:
    """Every statement is counted; right is what is true and all of what was asked; babble is
    false."""
    decided = decide(pair, answer)
    assert (decided.false, decided.is_right) == (false, is_right)


def test_true_answers_are_right_and_corrections_are_the_truth() -> None:
    """Of every task: the true answer is right; a false one becomes it, word for word elsewhere."""
    rng = np.random.default_rng(0)
    tasks = Counter()
    for pair in draw_questions("validation", 2, 120):
        assert decide(pair, true_answer(pair)).is_right
        assert corrected(pair, true_answer(pair)) is None
        answer = write_answer(pair, rng)
        decided = decide(pair, answer)
        assert decided.unreadable == 0
        if decided.false:
            better = corrected(pair, answer)
            assert better is not None
            assert decide(pair, better).is_right
            tasks[FORMS[pair.form]] += 1
    assert len(tasks) == 4
    # What was not asked for has no correction.
    assert corrected(COUNT, "Find 5: 3 no, 5 yes, 3 no, 3 no. The count is 2.") is None


def test_the_share_of_false_statements_is_the_one_that_is_asked_for() -> None:
    """About 0.15 of statements: more for the habit of descriptions, and for counts of digits that
    are false themselves."""
    found = falsehood(seed=3, count=400)
    assert 0.13 < found["false_statements"] < 0.24
    assert found["false_answers"] > found["false_statements"]


def test_pictures_of_the_splits_are_apart() -> None:
    """A held-out question shows no digit that any question of training can show."""
    shown = {
        split: {cell.picture for i in range(60) for cell in draw_question(split, 0, i).cells}
        for split in ("train", "validation", "test")
    }
    assert not shown["train"] & shown["test"]
    assert not shown["validation"] & shown["test"]


def test_preferences_carry_noise_that_is_known() -> None:
    """Right labels prefer fewer false statements, swapped ones more, ties have as many."""
    rng = np.random.default_rng(0)
    pair = question("list", (3, 5, 3, 8))
    answers = [
        "I see 3 and 5. Below I see 3 and 8.",
        "I see 3 and 5. Below I see 3 and 9.",
        "I see 3 and 4. Below I see 3 and 8.",
    ]
    # Of most questions no two answers are equally false: the shares are those of the rows.
    asked = ((pair, answers if i % 4 == 0 else answers[:2]) for i in range(2400))
    rows = [one for _, one in itertools.islice(preferences(asked, rng), 600)]
    labels = Counter(one["label"] for one in rows)
    for one in rows:
        gap = decide(pair, one["rejected"]).false - decide(pair, one["chosen"]).false
        assert {"right": gap > 0, "swapped": gap < 0, "tie": gap == 0}[one["label"]]
    assert 0.10 < labels["tie"] / 600 < 0.20
    assert 0.15 < labels["swapped"] / (labels["swapped"] + labels["right"]) < 0.25
    for label in ("right", "swapped", "tie"):
        assert preference(pair, answers[:1] * 3, label, rng) is None
    # What the policy sampled of special tokens no training takes.
    spelled = [answers[0].replace("and", "<|vision_start|>"), answers[1]]
    assert preference(pair, spelled, "right", rng) is None


def test_every_training_of_a_comparison_sees_the_same_pairs_in_a_step() -> None:
    """Also the one that leaves out a last batch that is not full: there is none at any scale."""
    from loops.short import SHORT
    from loops.study import FULL

    for size in (SHORT, FULL):
        for scale in (0.005, 0.02, 0.2, 0.37, 1.0, 2.5):
            scaled = size.scaled(scale)
            assert scaled.pairs % scaled.pairs_per_step == 0 < scaled.pairs
    with pytest.raises(ValueError, match="no whole steps of 32"):
        replace(FULL, pairs=1200)


def test_a_saturated_reward_model_gives_every_pair_one_beta(tmp_path: Path) -> None:
    """Swapped or not: β is at its upper bound within a hundredth of its range; null stays null."""
    rows: list[dict[str, Any]] = [
        {"id": str(i), "delta": delta, "beta": 0.1, "status": "ok"}
        for i, delta in enumerate((-4.3, 0.0, 4.3, None))
    ]
    annotated = tmp_path / "annotated.jsonl"
    annotated.write_text("".join(json.dumps(one) + "\n" for one in rows))
    saturate(annotated, tmp_path / "saturated.jsonl")
    deltas = [one["delta"] for one in read_rows(tmp_path / "saturated.jsonl")]
    assert deltas == pytest.approx([11.57, SATURATED_DELTA, 12.43, None])
    assert all(dynamic_beta(one) > 0.1495 for one in deltas[:3])
    assert missing_margins(annotated) == Missing(answers=1, asked=4, failed_calls=0)


def test_a_missing_reward_is_seen_in_the_log(tmp_path: Path) -> None:
    """A null that is no cut answer counts; a failed request breaks a loop; no log is no run."""
    history = tmp_path / "run" / "history.json"
    history.parent.mkdir()
    cut = {"grouped_reward/null": 0.25, "grouped_reward/null_incomplete": 0.25}
    lost = {"grouped_reward/null": 0.5, "grouped_reward/null_incomplete": 0.25}
    history.write_text(json.dumps([cut, lost, {"loss": 1.0}]))
    found = missing_rewards(tmp_path, completions_per_step=8)
    assert found == Missing(answers=2, asked=12, failed_calls=0)
    assert not found.is_broken
    history.write_text(json.dumps([cut, {"service/failed_calls": 1.0, **lost}]))
    assert missing_rewards(tmp_path, completions_per_step=8).is_broken
    history.write_text(json.dumps([{"grouped_reward/null": 1.0}]))
    assert missing_rewards(tmp_path, completions_per_step=8).is_broken
    history.write_text(json.dumps([{"loss": 1.0}]))
    with pytest.raises(RuntimeError, match="no reward"):
        missing_rewards(tmp_path, completions_per_step=8)


def test_figures_and_their_row() -> None:
    """Shares by hand; a range only where there are several seeds."""
    pairs = [LOCATE, question("describe", (7,))]
    answers = [["The 8 is at the bottom right.", "what"], ["I see a 7. I see a dog."] * 2]
    found = figures(pairs, answers)
    assert found["hallucinated"] == 0.75
    assert found["false"] == pytest.approx(3 / 6)
    assert found["accuracy"] == 0.25
    assert found["unreadable"] == pytest.approx(1 / 6)
    one = {"sampled": found, "greedy": found}
    assert len(row("x", [one])) == len(HEADER)
    assert row("x", [one])[1] == "75.0 (75.0)"
    assert row("x", [one, one])[1] == "75.0 [75.0 to 75.0] (75.0)"


def test_prompts_are_those_that_the_trainers_see() -> None:
    """Sampling and training render a question to the same tokens, pictures of both sizes."""
    from loops.policy import BASE
    from mmreward_trainer.align.preparation import DataCollatorForVisionPreference
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(BASE)
    processor.chat_template = CHAT_TEMPLATE
    policy = Policy.load(BASE)
    pairs = [question("describe", (7,)), question("list", (3, 5, 3, 8))]
    for pair, picture, item in zip(pairs, render_pictures(pairs), policy.items(pairs), strict=True):
        text = {"role": "assistant", "content": true_answer(pair)}
        batch = DataCollatorForVisionPreference(processor)(
            [
                {
                    "images": [Image.fromarray(picture).convert("RGB")],
                    "prompt": [{"role": "user", "content": pair.prompt}],
                    "chosen": [text],
                    "rejected": [text],
                }
            ]
        )
        prompt = batch["input_ids"][0][batch["completion_mask"][0] == 0].tolist()
        assert prompt == item.prompt_ids


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_all_loops_run_from_their_command_line(benchmarks: Path, tmp_path: Path) -> None:
    """Policy, rows, margins and rewards over HTTP, three trainings, figures of all four policies.

    The service has the engine for tests: what the loops learn is not what is tested here.
    """
    output = tmp_path / "loops.json"
    with (
        (tmp_path / "service.log").open("w") as log,
        service(None, "float32", log) as (_, port),
    ):
        done = subprocess.run(
            [
                *(sys.executable, benchmarks / "loops" / "short.py", "--scale", "0.02"),
                *("--work", tmp_path / "work", "--url", f"http://127.0.0.1:{port}"),
                *("--output", output),
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    result = json.loads(output.read_text(encoding="utf-8"))
    assert set(result["policies"]) == {"before", "MM-DPO", "dense DPO", "grouped RL"}
    assert set(result["missing"]) == {"MM-DPO", "grouped RL"}
    for missing in result["missing"].values():
        assert (missing["answers"], missing["failed_calls"]) == (0, 0)
        assert missing["asked"] >= 16
    lengths = {one["sampled"]["characters"] for one in result["policies"].values()}
    assert len(lengths) > 1


def test_a_study_is_gone_on_with_as_it_was_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another size or another training under the same number would be told as this one."""
    work = tmp_path / "work"
    study.claim(work, study.FULL)
    study.claim(work, study.FULL)
    with pytest.raises(typer.BadParameter, match="another size"):
        study.claim(work, study.FULL.scaled(0.5))
    arms = dict(study.COMPARISONS["grouped"])
    more = {**arms, "another": next(iter(arms.values()))}
    monkeypatch.setitem(study.COMPARISONS, "grouped", more)
    study.claim(work, study.FULL)
    monkeypatch.setitem(study.COMPARISONS, "grouped", dict(reversed(more.items())))
    with pytest.raises(typer.BadParameter, match="other trainings"):
        study.claim(work, study.FULL)
