"""MM-RLHF: preference pairs on images and videos, and its reward benchmark (arXiv 2502.10391).

    {"id": "1_2", "image": "long/1.png", "prompt": "...", "chosen": "...", "rejected": "...",
     "chosen_reason": "...", "rejected_reason": "..."}

`image` is a path or a list of paths; instead of it `video` names a folder of frames. The reasons
and `is_tie` may be missing. These are the columns that the released training and evaluation code
reads. Several pairs share an id: they are of one question, and ACC+ asks for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mmreward_client.data.columns import Columns, pair_of_row
from mmreward_client.data.media import RowMedia
from mmreward_client.data.options import DEFAULTS, ReadOptions
from mmreward_client.data.pair import PreferencePair
from mmreward_client.data.problems import FieldProblem
from mmreward_client.data.reader import PairReader, read_file
from mmreward_client.data.source import SourceRow

CATEGORIES = ("mcq", "long", "short", "safety", "video")
"""In the order in which the released script tries them."""

_COLUMNS = Columns(id="id")
_PLACEHOLDERS = ("<image>", "<video>")


def read_mm_rlhf(path: Path | str, options: ReadOptions = DEFAULTS) -> PairReader:
    """The pairs of `dpo_pairs.jsonl`."""
    return read_file(path, build_mm_rlhf, options)


def read_mm_rlhf_rewardbench(path: Path | str, options: ReadOptions = DEFAULTS) -> PairReader:
    """The benchmark's pairs, each with its `category`."""
    return read_file(path, build_mm_rlhf_rewardbench, options)


def build_mm_rlhf(row: SourceRow, media: RowMedia) -> PreferencePair:
    """The pair of one row.

    A placeholder of the image in the prompt is taken out, as the released code does before it
    puts its own in front: it marks a place for another template, and would be read as text here.

    Raises:
        FileMissing: an image or a folder of frames is not there.
        FieldProblem: a field that cannot be used, or neither image nor video.
    """
    pair = pair_of_row(row, media, _COLUMNS)
    if not pair.images and pair.video is None:
        raise FieldProblem("image", "neither image nor video")
    prompt = without_placeholders(pair.prompt)
    if not prompt:
        raise FieldProblem("prompt", "holds nothing but a placeholder")
    return replace(pair, prompt=prompt)


def build_mm_rlhf_rewardbench(row: SourceRow, media: RowMedia) -> PreferencePair:
    """The pair of one row with its category.

    Raises:
        FileMissing, FieldProblem: as `build_mm_rlhf`; a path that tells no category.
    """
    field = "image" if row.fields.get("image") is not None else "video"
    # The category first: a benchmark whose pictures are elsewhere is still told what is wrong.
    category = category_of(row.fields.get(field), field)
    return replace(build_mm_rlhf(row, media), category=category)


def category_of(path: object, field: str = "image") -> str:
    """The category that a path of the benchmark stands for: the first of `CATEGORIES` in it.

    Anywhere in it, as in the released script, so that the groups are those of published figures. A
    list of paths tells it by its first, `{"bytes", "path"}` by its path.

    Raises:
        FieldProblem: no path, or one without any category.
    """
    if isinstance(path, list | tuple) and path:
        path = path[0]
    if isinstance(path, Mapping):
        path = path.get("path")
    if not isinstance(path, str):
        raise FieldProblem(field, "no path that tells the category")
    for category in CATEGORIES:
        if category in path:
            return category
    raise FieldProblem(field, f"no category in the path: one of {', '.join(CATEGORIES)}")


def without_placeholders(prompt: str) -> str:
    """A prompt without `<image>` and `<video>`; one that has none is left as it is."""
    if not any(placeholder in prompt for placeholder in _PLACEHOLDERS):
        return prompt
    for placeholder in _PLACEHOLDERS:
        prompt = prompt.replace(placeholder, "")
    return prompt.strip()
