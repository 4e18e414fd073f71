"""The margins of one way of scoring, from an answer file and the validation pairs it answers.

What takes no part in a fit is counted by name and is never a number: ties of the data (`tie`:
neither answer is better, so there is no outcome; `prob` is the probability given that one of them
is), answers without rewards by their status (`truncated`, `unparsed`, ...), rows that nobody
answered (`not_answered`), and rows that cannot be sent, for a missing picture or a wrong field
(`invalid`: whether they were trained on cannot be looked up either).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.answers import judged
from mmreward_client.evaluation.benchmarks import category_of, recognise
from mmreward_client.evaluation.judged import Judged
from mmreward_client.evaluation.questions import row_sha256
from mmreward_client.evaluation.resuming import Key
from mmreward_service.reward.spec import Kind, Mode
from numpy.typing import NDArray

from mmreward_trainer.calibration.groups import group_numbers
from mmreward_trainer.calibration.validation import ValidationRow

_MODES: tuple[Mode, ...] = ("generate", "given", "none")


@dataclass(frozen=True)
class Margins:
    """What a fit is made from; `deltas`, `groups` and `categories` have one entry for each pair.

    Attributes:
        groups: pairs of one number share an id or a picture.
        rows: rows of the validation file: the pairs, and what `left_out` counts.
        fingerprint: provenance of the service that answered, None where the file does not tell.
    """

    mode: Mode
    critiques: int
    deltas: NDArray[np.float64]
    groups: NDArray[np.int64]
    categories: tuple[str, ...]
    rows: int
    left_out: Mapping[str, int]
    fingerprint: str | None
    answers: Path


class _Answers:
    """An answer file while it is read; every line must tell the same origin."""

    def __init__(self) -> None:
        self.rows: dict[Key, Judged] = {}
        self.origin: tuple[Any, Any] | None = None
        self._seen: Counter[str] = Counter()

    def add(self, row: dict[str, Any], known: Collection[Key]) -> None:
        origin = (row.get("fingerprint"), row.get("request"))
        if self.origin is not None and origin != self.origin:
            raise InvalidInput("is of another model or other sampling than the lines above")
        self.origin = origin
        digest = row_sha256(row)
        key = (digest, self._seen[digest])
        if key not in known:
            raise InvalidInput("answers no row of the validation pairs")
        self._seen[digest] += 1
        self.rows[key] = judged(row)


def read_margins(
    path: Path,
    rows: Sequence[ValidationRow],
    *,
    mode: Mode | None = None,
    critiques: int | None = None,
    kind: Kind = "critique",
) -> Margins:
    """The margins that an answer file gives to validation rows.

    Args:
        kind: whose margins they are to be; a file that says otherwise is refused.
        mode, critiques: how the file was answered, where it does not say so itself.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a line is no answer to one of the rows, the lines have several origins, or how
            they were answered is not said, said twice differently, or not what a service does by
            default; the message begins with the file.
    """
    known = {row.key for row in rows}
    answers = _Answers()
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                try:
                    answers.add(json_object(line), known)
                except InvalidInput as error:
                    raise InvalidInput(f"{path}:{number}: {error}") from None
    if answers.origin is None:
        raise InvalidInput(f"{path} holds no answers")
    fingerprint, request = answers.origin
    try:
        _check_kind(request, kind)
        mode, critiques = _way(request, mode, critiques)
    except InvalidInput as error:
        raise InvalidInput(f"{path}: {error}") from None
    used: list[tuple[ValidationRow, Judged]] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        answer = answers.rows.get(row.key)
        if (reason := _why_not(row, answer)) is not None:
            left_out[reason] += 1
        else:
            assert answer is not None
            used.append((row, answer))
    benchmark = recognise([answer for _, answer in used])
    return Margins(
        mode=mode,
        critiques=critiques,
        deltas=np.array([answer.delta for _, answer in used], dtype=np.float64),
        groups=group_numbers([row.names for row, _ in used]),
        categories=tuple(category_of(answer, benchmark) for _, answer in used),
        rows=len(rows),
        left_out=dict(left_out),
        fingerprint=fingerprint if isinstance(fingerprint, str) else None,
        answers=path,
    )


def _why_not(row: ValidationRow, answer: Judged | None) -> str | None:
    if row.error is not None:
        return "invalid"
    if row.is_tie:
        return "tie"
    if answer is None:
        return "not_answered"
    if answer.delta is None:
        return answer.status
    return None if math.isfinite(answer.delta) else "not_finite"


def _check_kind(request: Any, kind: Kind) -> None:
    """Margins of a judge and of a critique model are in different units."""
    if isinstance(request, dict) and (found := request.get("kind") or "critique") != kind:
        raise InvalidInput(f"was answered by a model of kind {found}, not {kind}")


def _way(request: Any, mode: Mode | None, critiques: int | None) -> tuple[Mode, int]:
    """Mode and K, from the file's own `request` or from the caller."""
    said = request if isinstance(request, dict) else {}
    found_mode = next((one for one in _MODES if one == said.get("mode")), None)
    if said and found_mode is None:
        raise InvalidInput(f"`request` has the mode {said.get('mode')!r}, which is none")
    # The service's default, which the command that asks for answers leaves out.
    found_critiques = said.get("critiques", 1) if said else None
    if found_critiques is not None and (
        not isinstance(found_critiques, int)
        or isinstance(found_critiques, bool)
        or found_critiques < 1
    ):
        raise InvalidInput(f"`request` has critiques {found_critiques!r}, expected a number")
    for name, found, wanted in (
        ("mode", found_mode, mode),
        ("critiques", found_critiques, critiques),
    ):
        if found is None and wanted is None:
            raise InvalidInput(f"does not say with which {name} it was answered: give --{name}")
        if None not in (found, wanted) and found != wanted:
            raise InvalidInput(f"was answered with {name} {found}, not {wanted}")
    mode, critiques = found_mode or mode, found_critiques or critiques
    assert mode is not None
    assert critiques is not None
    usual = 0.0 if critiques == 1 else 1.0
    if said.get("temperature") not in (None, usual):
        raise InvalidInput(
            f"was sampled at temperature {said['temperature']}: a calibration is kept for the "
            f"service's default, {usual:g} for {critiques} critiques"
        )
    return mode, critiques
