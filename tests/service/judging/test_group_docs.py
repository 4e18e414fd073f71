"""The example of docs/http-api.md: what is sent there is answered as it says."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import httpx2

PAGE = (Path(__file__).parents[3] / "docs" / "http-api.md").read_text(encoding="utf-8")


async def test_the_example_is_answered_as_shown(client: httpx2.AsyncClient) -> None:
    """The command's address and body, and the reply but for the judge's texts."""
    (command,) = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    words = shlex.split(command)
    path = words[2].removeprefix("http://127.0.0.1:8000")
    reply = await client.post(path, content=words[words.index("-d") + 1])
    data = reply.json()["data"]
    for one in data[0]["comparisons"]:
        one["critique"] = "..."
    assert data == json.loads(shown)
