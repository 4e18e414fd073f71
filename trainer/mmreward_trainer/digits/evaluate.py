"""Measures a digit checkpoint on held-out pictures with the critiques it writes itself.

Sets: trained wordings and wordings never trained, both on pictures of the asked split, greedy; the
same pairs without a critique; and a part of them with eight sampled critiques. Ties and pairs with
an unfinished critique count as wrong.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from mmreward_service.reward.spec import Calibration

from mmreward_trainer.calibration import CalibrationError, fit_temperature
from mmreward_trainer.digits import metrics
from mmreward_trainer.digits.critiques import observation, write_critique
from mmreward_trainer.digits.images import Split
from mmreward_trainer.digits.pairs import Pair, draw_pair
from mmreward_trainer.digits.scoring import DigitModel, PairScores
from mmreward_trainer.digits.wordings import Wording

SAMPLES = 8


@dataclass(frozen=True)
class Sizes:
    """Numbers of pairs of each set."""

    trained: int = 2500
    held: int = 1200
    sampled: int = 400
    calibration: int = 2000
    calibration_sampled: int = 1200


# A fit rests on errors, and clean pairs yield few: calibration pairs are hard more often.
CALIBRATION_HARD_SHARE = 0.4


def draw_pairs(split: Split, wording: Wording, count: int) -> list[Pair]:
    """The evaluation pairs of a split: always the same ones, pictures unaugmented."""
    return [draw_pair(split, wording, 1, index) for index in range(count)]


def calibrate(digit_model: DigitModel, sizes: Sizes) -> tuple[list[Calibration], dict[str, str]]:
    """Temperatures of every way of scoring, on validation pairs; refusals by name."""
    pairs = [
        draw_pair("validation", "trained", 3, index, hard_share=CALIBRATION_HARD_SHARE)
        for index in range(sizes.calibration)
    ]
    few = pairs[: sizes.calibration_sampled]
    fitted: list[Calibration] = []
    refused: dict[str, str] = {}
    scored = {
        ("generate", 1): digit_model.score_pairs(pairs),
        ("generate", SAMPLES): _sampled(digit_model, few, seed=1),
        ("none", 1): digit_model.score_without_critique(pairs),
    }
    for (mode, critiques), results in scored.items():
        deltas = [s.delta for s in results if s.delta is not None]
        try:
            fitted.append(fit_temperature(deltas, mode=mode, critiques=critiques))
        except CalibrationError as error:
            refused[f"{mode} {critiques}"] = str(error)
    return fitted, refused


def evaluate(
    digit_model: DigitModel, split: Split, calibration: list[Calibration], sizes: Sizes
) -> dict[str, Any]:
    """All figures of one checkpoint on one split, as one JSON-able object."""
    return figures(digit_model, split, score_sets(digit_model, split, sizes), calibration)


@dataclass(frozen=True)
class ScoredSets:
    """The pairs of every set with their critiques and scores."""

    trained: list[PairScores]
    held: list[PairScores]
    bare: list[PairScores]  # the trained wordings again, without a critique
    sampled: list[PairScores]  # the first of the trained wordings, eight critiques each
    seconds: float


def score_sets(digit_model: DigitModel, split: Split, sizes: Sizes) -> ScoredSets:
    """Write and score all critiques that the figures need."""
    began = time.monotonic()
    pairs = draw_pairs(split, "trained", sizes.trained)
    return ScoredSets(
        trained=digit_model.score_pairs(pairs),
        held=digit_model.score_pairs(draw_pairs(split, "held", sizes.held)),
        bare=digit_model.score_without_critique(pairs),
        sampled=_sampled(digit_model, pairs[: sizes.sampled], seed=2),
        seconds=round(time.monotonic() - began, 1),
    )


def figures(
    digit_model: DigitModel, split: Split, sets: ScoredSets, calibration: list[Calibration]
) -> dict[str, Any]:
    """The figures of scored pairs, calibrated where the checkpoint holds a calibration."""
    temperatures = {(c.mode, c.critiques): c.temperature for c in calibration}
    return {
        "split": split,
        "trained_wordings": _figures(sets.trained, temperatures.get(("generate", 1))),
        "held_wordings": _figures(sets.held, temperatures.get(("generate", 1))),
        "sampled_8": _figures(sets.sampled, temperatures.get(("generate", SAMPLES))),
        "greedy_on_the_sampled_pairs": metrics.accuracy_table(sets.trained[: len(sets.sampled)]),
        "no_critique": _figures(sets.bare, temperatures.get(("none", 1))),
        "baselines": {"random": 0.5, "longer_wins": metrics.longer_wins(sets.trained)},
        "critiques": _critique_figures(digit_model, sets.trained),
        "seconds": sets.seconds,
    }


def _sampled(digit_model: DigitModel, pairs: list[Pair], seed: int) -> list[PairScores]:
    generator = torch.Generator().manual_seed(seed)
    return digit_model.score_pairs(pairs, temperature=1.0, samples=SAMPLES, generator=generator)


def _figures(scored: list[PairScores], temperature: float | None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "accuracy": metrics.accuracy_table(scored),
        "beta_raw": metrics.beta_figures(scored, lambda delta: delta),
        "delta_knows": metrics.delta_knows(scored),
        "calibration_error": metrics.calibration_table(scored, temperature),
        "temperature": temperature,
    }
    if temperature is not None:
        figures["beta_calibrated"] = metrics.beta_figures(scored, lambda d: d / temperature)
    return figures


def _critique_figures(digit_model: DigitModel, scored: list[PairScores]) -> dict[str, Any]:
    """How often the greedy critique, and its observation, are what a perfect reader would write."""
    whole: dict[bool, list[bool]] = {False: [], True: []}
    seen: dict[bool, list[bool]] = {False: [], True: []}
    unfinished: list[dict[str, str]] = []
    for result in scored:
        sides = ((result.pair.chosen, result.chosen[0]), (result.pair.rejected, result.rejected[0]))
        for claim, written in sides:
            text = digit_model.renderer.decode(written.token_ids)
            whole[result.pair.is_hard].append(text == write_critique(result.pair, claim))
            digits = observation(result.pair).split(".")[0]
            seen[result.pair.is_hard].append(text.split(".")[0] == digits)
            if written.score is None:
                unfinished.append({"prompt": result.pair.prompt, "critique": text[:80]})
    return {
        "whole_critique_exact": _clean_and_hard(whole),
        "digits_read_exactly": _clean_and_hard(seen),
        "unfinished": unfinished,
    }


def _clean_and_hard(results: dict[bool, list[bool]]) -> dict[str, float | None]:
    return {"clean": metrics.share(results[False]), "hard": metrics.share(results[True])}
