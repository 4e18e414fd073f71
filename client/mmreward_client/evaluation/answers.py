"""Reading an answer file: benchmark rows with the rewards that a model gave them.

    {"id": "7", "image": "mcq/7.png", "prompt": "...", "chosen": "...", "rejected": "...",
     "rewards": [1.25, -0.5]}

`rewards` is [chosen, rejected] as the released evaluation of MM-RLHF writes it, null or with a null
in it for a failed pair. `status`, `error`, `prob` and a judge's `orders` are read where they are
there; a status other than `ok` is a failed pair whatever stands in `rewards`. A number that is not
finite is a failure and no reward. Anything else out of shape ends the reading with file and line: a
metric over the rest of a damaged file would look like a result.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.judged import Judged


def read_answers(path: Path) -> list[Judged]:
    """Every pair of the file; empty lines are skipped.

    Raises:
        OSError: the file cannot be read.
        InvalidInput: a line is not an answer; the message begins with file and line.
    """
    pairs = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                pairs.append(judged(json_object(line)))
            except InvalidInput as error:
                raise InvalidInput(f"{path}:{number}: {error}") from None
    return pairs


def judged(row: dict[str, Any]) -> Judged:
    """A row of an answer file.

    Raises:
        InvalidInput: `id` or `rewards` is missing, or a field has the wrong type.
    """
    rewards, status = _outcome(row)
    return Judged(
        id=_id(row),
        rewards=rewards,
        status=status,
        chosen=_text(row, "chosen"),
        rejected=_text(row, "rejected"),
        media=_media(row),
        group=_group(row),
        prob=_prob(row),
        orders=_orders(row),
    )


def _id(row: dict[str, Any]) -> str:
    found = row.get("id")
    if isinstance(found, bool) or not isinstance(found, str | int):
        raise InvalidInput("`id` is missing or neither text nor a number")
    return str(found)


def _text(row: dict[str, Any], name: str) -> str | None:
    found = row.get(name)
    if not isinstance(found, str | None):
        raise InvalidInput(f"`{name}` is {type(found).__name__}, expected text")
    return found


def _group(row: dict[str, Any]) -> str | None:
    """Columns of other people mean other things: what is not a name is no category."""
    for name in ("category", "source"):
        found = row.get(name)
        if isinstance(found, str | int) and found != "":
            return str(found)
    return None


def _media(row: dict[str, Any]) -> str:
    """The path that categories are read from: the image's or, where there is none, the video's."""
    found = next(
        (row[name] for name in ("image", "images", "image_path", "video") if row.get(name)), ""
    )
    if isinstance(found, dict) and "frames" in found:
        found = found["frames"]
    listed = found if isinstance(found, list) else [found]
    # A picture that lay inside its row is named by the path that stood beside its bytes.
    paths = [part.get("path") if isinstance(part, dict) else part for part in listed]
    return " ".join(path for path in paths if isinstance(path, str))


def _outcome(row: dict[str, Any]) -> tuple[tuple[float, float] | None, str]:
    if "rewards" not in row:
        raise InvalidInput("`rewards` is missing: this row was never answered")
    status = row.get("status", "ok")
    if not isinstance(status, str):
        raise InvalidInput(f"`status` is {type(status).__name__}, expected text")
    found = row["rewards"]
    if found is None:
        return None, status if status != "ok" else "no_rewards"
    if not isinstance(found, list) or len(found) != 2:
        raise InvalidInput("`rewards` is not [chosen, rejected]")
    for reward in found:
        if isinstance(reward, bool) or not isinstance(reward, int | float | None):
            raise InvalidInput(f"`rewards` holds {type(reward).__name__}, expected two numbers")
    if status != "ok":
        return None, status
    if None in found:
        return None, "no_rewards"
    chosen, rejected = _float(found[0]), _float(found[1])
    if not (math.isfinite(chosen) and math.isfinite(rejected)):
        return None, "not_finite"
    return (chosen, rejected), status


def _float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:  # JSON has integers that no double can hold
        return math.inf


def _orders(row: dict[str, Any]) -> tuple[float, float] | None:
    found = row.get("orders")
    if found is None:
        return None
    if not isinstance(found, list) or len(found) != 2:
        raise InvalidInput("`orders` is not [δ with chosen first, δ with chosen second]")
    for delta in found:
        if isinstance(delta, bool) or not isinstance(delta, int | float):
            raise InvalidInput(f"`orders` holds {type(delta).__name__}, expected two numbers")
    first, second = _float(found[0]), _float(found[1])
    if not (math.isfinite(first) and math.isfinite(second)):
        raise InvalidInput("`orders` holds a number that is not finite")
    return first, second


def _prob(row: dict[str, Any]) -> float | None:
    found = row.get("prob")
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found <= 1:
        raise InvalidInput(f"`prob` is {found!r}, expected a number from 0 to 1")
    return float(found)
