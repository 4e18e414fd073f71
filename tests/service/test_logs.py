"""Log lines: one per request, facts only, and nothing that a caller typed gets in."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mmreward_service.logs import KeyValueFormatter, line
from service_kit import KEY, picture_uri, serving


async def test_no_content_reaches_the_log(
    caplog: pytest.LogCaptureFixture, item: dict[str, Any]
) -> None:
    """Neither pictures nor texts nor keys, whatever goes wrong with them."""
    caplog.set_level(logging.DEBUG)
    secret = "a-very-private-question"
    uri = picture_uri()
    bad = {"images": [uri[:-3]], "prompt": secret, "response": secret}
    items: list[Any] = [
        {"images": [uri], "prompt": secret, "response": secret},
        {"images": [uri], "prompt": secret, "response": secret + "[[fault]]"},
        {"images": [uri], "prompt": secret, "response": secret + "[[truncated]]"},
        {**bad, "unknown": secret},
        bad,
        secret,
    ]
    async with serving(api_keys=(KEY,)) as client:
        headers = {"Authorization": f"Bearer {KEY}"}
        for body in ({"items": items}, {"items": items, "critiques": 2}, {"items": secret}):
            await client.post("/v1/score", json=body, headers=headers)
        await client.post("/v1/score", content=b'{"items": "' + secret.encode(), headers=headers)
        await client.post("/v1/score", headers={"Authorization": f"Bearer {secret}"})
        body = {"query": [secret], "prompts": ["other"]}
        await client.post("/get_reward", json=body, headers=headers)
    assert "event=request" in caplog.text
    assert "event=item_failed" in caplog.text
    for forbidden in (secret, uri[30:60], KEY, "base64"):
        assert forbidden not in caplog.text


async def test_a_request_has_one_line_with_its_facts(
    caplog: pytest.LogCaptureFixture, item: dict[str, Any]
) -> None:
    """Id, route template, status, items and stages: enough to find out where the time went."""
    caplog.set_level(logging.INFO)
    async with serving() as client:
        caplog.clear()
        await client.post("/v1/score", json={"items": [item, 1]}, headers={"X-Request-Id": "r-1"})
    (text,) = [record.getMessage() for record in caplog.records if "r-1" in record.getMessage()]
    fields = dict(pair.split("=", 1) for pair in text.split())
    assert fields["event"] == "request"
    assert fields["route"] == "/v1/score"
    assert (fields["status"], fields["outcome"]) == ("200", "ok")
    assert (fields["items"], fields["ok"]) == ("2", "1")
    assert {"seconds", "engine_s", "decode_s", "prompt_s", "completion_tokens"} <= set(fields)


@given(st.text())
def test_a_value_cannot_forge_a_line_or_a_field(value: str) -> None:
    """Whatever a value holds, the line stays one line and its fields stay where they are."""
    text = line("e", a=value, b=1)
    assert "\n" not in text
    assert text.isprintable()
    assert text.endswith(" b=1")
    quoted = text.removeprefix("event=e a=").removesuffix(" b=1")
    assert re.fullmatch(r'[^\s"=]+|"(?:[^"\\]|\\.)*"', quoted)


def test_foreign_messages_become_fields() -> None:
    """uvicorn's and vLLM's sentences appear in the same format."""
    record = logging.LogRecord("uvicorn", logging.INFO, "f", 1, 'say "%s"', ("hi",), None)
    text = KeyValueFormatter().format(record)
    assert re.match(r"time=\S+Z level=info logger=uvicorn message=", text)
