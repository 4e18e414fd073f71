"""A row of preference data -> what a scoring service is asked about it.

Rows are those of `rows.py` (texts, pictures as path or bytes) or TRL's (chat messages, decoded
pictures). The texts travel without the policy's chat template: the reward model has templates of
its own. Encoding and hashing a picture takes milliseconds, so both happen where the caller does not
wait for them, see `live_margins`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmreward_client.errors import InvalidInput
from mmreward_client.images import MediaTable
from mmreward_client.inputs import wire_item

from mmreward_trainer.align.grouped.reading import (
    UnreadablePrompt,
    prompt_of,
    text_of_completion,
)
from mmreward_trainer.align.margins import MarginError, Row, name_of


@dataclass(frozen=True)
class LivePair:
    """One pair to be asked about.

    Attributes:
        name: what a message calls it.
        item: fields of a `PairInput`.
    """

    name: str
    item: Mapping[str, Any]


def live_pairs(rows: Sequence[Row]) -> list[LivePair]:
    """One entry per row, in order.

    Raises:
        MarginError: names the row that lacks something or holds what cannot be judged.
    """
    found = []
    for place, row in enumerate(rows):
        name = name_of(row, place)
        try:
            item = {
                "prompt": prompt_of(row["prompt"]),
                "chosen": text_of_completion(row["chosen"]),
                "rejected": text_of_completion(row["rejected"]),
                "images": _images(row),
            }
        except KeyError as error:
            raise MarginError(f"row {name}: no column {error}") from error
        except UnreadablePrompt as error:
            raise MarginError(f"row {name}: {error}") from error
        found.append(LivePair(name, item))
    return found


def wired(pair: LivePair) -> tuple[str, dict[str, Any]]:
    """(key, item with its pictures as data URIs): the key is equal where all contents are.

    Raises:
        MarginError: names the row whose picture cannot be sent.
    """
    media = MediaTable()
    try:
        item = wire_item(pair.item, media)
    except InvalidInput as error:
        raise MarginError(f"row {pair.name}: {error}") from error
    item["images"] = [media.entries[key] for key in item.get("images", ())]
    content = json.dumps(item, sort_keys=True).encode("ascii")
    return hashlib.sha256(content).hexdigest(), item


def _images(row: Row) -> list[Any]:
    images = row.get("images")
    if images is None:
        images = [] if row.get("image") is None else [row["image"]]
    return [_image(one) for one in images]


def _image(image: Any) -> Any:
    if isinstance(image, Mapping):  # as `datasets` has pictures that are not decoded
        return image["path"] if image.get("bytes") is None else image["bytes"]
    if hasattr(image, "load"):
        # A picture that is read from its file when it is first used would be so by two threads.
        image.load()
    return image
