"""Rows of groups: responses as texts, or as objects that say whether they are complete.

{"id": "7", "images": "cat.png", "prompt": "What is it?", "responses": ["A cat.", "A dog."]}
{"prompt": "2 + 2?", "responses": [{"text": "4"}, {"text": "The sum of", "complete": false}]}
{"prompt": "2 + 2?", "responses": ["4", "The sum of"], "complete": [true, false]}
"""

from __future__ import annotations

from typing import Any

from mmreward_client.cli.rows import Row

_KNOWN = frozenset({"text", "complete"})


def with_texts(row: Row) -> Row:
    """The row with its responses as texts and `complete` beside them, or what is wrong with it.

    What is no list of texts and objects is left as it is: the rules of an item name it.
    """
    responses = row.item.get("responses")
    if row.error is not None or not isinstance(responses, list):
        return row
    if not any(isinstance(one, dict) for one in responses):
        return row
    texts: list[Any] = []
    complete: list[bool] = []
    unknown: set[str] = set()
    says_complete = False
    for place, one in enumerate(responses):
        if not isinstance(one, dict):
            one = {"text": one}
        if "text" not in one:
            return row.failed(f"responses.{place}: no `text`")
        whole = one.get("complete", True)
        if not isinstance(whole, bool):
            return row.failed(f"responses.{place}.complete: true or false, not {whole!r:.40}")
        says_complete |= "complete" in one
        unknown |= {f"responses.{name}" for name in one.keys() - _KNOWN}
        texts.append(one["text"])
        complete.append(whole)
    item = {**row.item, "responses": texts}
    if says_complete:
        if item.get("complete") is not None:
            return row.failed("complete: given for the row and inside its responses")
        item["complete"] = complete
    return row.changed(item, unknown=row.unknown | unknown)
