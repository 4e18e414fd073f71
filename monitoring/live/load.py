"""Demo load: callers like a training job's, on pictures of handwritten digits.

Scores, pairs and groups in turn, through the client with its Prometheus hook, which is served on a
port of its own as a trainer would. A few requests are wrong on purpose, so that failures can be
seen: a critique cut short, an item without a response. The intensity swells and ebbs, because a
flat line shows nothing.
"""

from __future__ import annotations

import itertools
import math
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any

from mmreward_client import RewardClient, RewardError
from mmreward_client.hooks import PrometheusHook
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits_judge.groups import draw_group
from PIL import Image
from prometheus_client import CollectorRegistry, start_http_server

from live.prometheus import free_port

CALLERS = 6
_GROUP_SIZE = 4
_CUT_EVERY, _WRONG_EVERY, _SAMPLED_EVERY = 12, 9, 5
_WAVE_S = 60.0
_REST_S = 0.6
_PRAISE = re.compile(r"\b(perfect|best|excellent|flawless)\b", re.IGNORECASE)


@contextmanager
def loaded(url: str, *, callers: int = CALLERS, is_judge: bool = True) -> Iterator[str]:
    """Load on a service until the end of the block; yields host and port of the trainer's page.

    Args:
        is_judge: whether the model takes groups, too.
    """
    registry = CollectorRegistry()
    hook = PrometheusHook(registry)
    port = free_port()
    server, serving = start_http_server(port, addr="127.0.0.1", registry=registry)
    over = threading.Event()
    with ThreadPoolExecutor(callers) as pool:
        calls = [pool.submit(_call, url, hook, over, number, is_judge) for number in range(callers)]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            over.set()
            wait(calls)
            server.shutdown()
            serving.join()
            server.server_close()
    for call in calls:
        call.result()  # what ended a caller before the time is a fault of this file


def _call(
    url: str, hook: PrometheusHook, over: threading.Event, caller: int, is_judge: bool
) -> None:
    with RewardClient(url, on_event=hook, timeout_s=60) as client:
        for number in itertools.count():
            rows = [_draw(caller, 3 * number + offset) for offset in range(3)]
            for send in (_scores, _pairs, _groups) if is_judge else (_scores, _pairs):
                if over.is_set():
                    return
                try:
                    send(client, rows, number)
                except RewardError:
                    # A service that is full or ends: the dashboards are to show it.
                    over.wait(0.5)
                over.wait(_rest_s())
            texts = [answer for _, _, answers in rows for answer in answers]
            praising = sum(_PRAISE.search(text) is not None for text in texts)
            hook.report_self_praise(praising / len(texts))


def _draw(caller: int, index: int) -> tuple[Image.Image, str, list[str]]:
    """Picture, question, and answers of graded quality."""
    group = draw_group("test", "trained", caller, index, _GROUP_SIZE, hard_share=0.15)
    (picture,) = render_pictures([group.pair])
    return Image.fromarray(picture), group.pair.prompt, [answer.text for answer in group.answers]


Rows = list[tuple[Image.Image, str, list[str]]]


def _scores(client: RewardClient, rows: Rows, number: int) -> None:
    items: list[dict[str, Any]] = [
        {"images": [picture], "prompt": prompt, "response": answer}
        for picture, prompt, answers in rows
        for answer in answers[:2]
    ]
    if number % _WRONG_EVERY == 1:
        items[0]["response"] = ""
    options: dict[str, Any] = {}
    if number % _CUT_EVERY == 1:
        options = {"max_critique_tokens": 2}
    elif number % _SAMPLED_EVERY == 1:
        options = {"critiques": 2, "temperature": 1.0}
    client.score(items, **options)


def _pairs(client: RewardClient, rows: Rows, _: int) -> None:
    client.pairs(
        [
            {"images": [picture], "prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
            for picture, prompt, answers in rows
        ]
    )


def _groups(client: RewardClient, rows: Rows, _: int) -> None:
    picture, prompt, answers = rows[0]
    client.groups([{"images": [picture], "prompt": prompt, "responses": answers}])


def _rest_s() -> float:
    return _REST_S * (1 + math.sin(2 * math.pi * time.monotonic() / _WAVE_S))
