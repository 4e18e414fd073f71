"""Stock models as judges on a real vLLM engine, behind the whole service.

A scripted model (`tiny_models.scripted`) judges as its prompt's last character says, so that every
fault in the middle of a group can be caused for real; two random models of stock families judge
with the default templates, and write nothing of use, which has to be said.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from mmreward_client.schema import GroupResult, GroupsReply, PairResult, PairsReply
from mmreward_service.engine.build import build_engine
from mmreward_service.engine.vllm.engine import VllmEngine
from mmreward_service.settings import Settings
from service_kit import picture_uri, serving
from tiny_models import build_tiny_stock
from tiny_models.scripted import TEMPLATES, build_scripted_judge

pytestmark = [
    pytest.mark.vllm,
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(1200),
]

PLACES = 4
COMPARISONS = 'mmreward_comparisons_total{model="'


@dataclass
class Judge:
    engine: VllmEngine
    client: httpx2.AsyncClient

    async def groups(self, *items: Any, **options: Any) -> GroupsReply:
        reply = await self.client.post("/v1/groups", json={"items": list(items), **options})
        assert reply.status_code == 200, reply.text
        return GroupsReply.model_validate_json(reply.content)

    async def group(self, *responses: str, **options: Any) -> GroupResult:
        return (await self.groups(group(*responses), **options)).data[0]

    async def metric(self, start: str) -> float:
        page = (await self.client.get("/metrics")).text
        values = [line.rsplit(" ", 1)[1] for line in page.splitlines() if line.startswith(start)]
        assert values, f"{start} is not exported"
        return sum(map(float, values))

    async def until(self, start: str, is_so: Callable[[float], bool]) -> float:
        async with asyncio.timeout(300):
            while not is_so(value := await self.metric(start)):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        return value


def group(*responses: str, shade: int = 90, prompt: str = "What is it?") -> dict[str, Any]:
    images = [picture_uri((56, 56), shade)]
    return {"images": images, "prompt": prompt, "responses": list(responses)}


async def judges_without_a_score(client: httpx2.AsyncClient) -> None:
    """Whatever a model writes that has not learnt to judge: every comparison has a typed status and
    no score, of pictures and of videos, and siblings hit the cache."""
    assert (await client.get("/ready")).status_code == 200
    video = {"frames": [picture_uri((56, 56), n) for n in range(4)], "fps": 2.0}
    items = [
        group("A cat.", "A dog.", "Two cats."),
        {"video": video, "prompt": "What happens?", "responses": ["It runs.", "It falls."]},
    ]
    reply = await client.post("/v1/groups", json={"items": items, "max_critique_tokens": 24})
    groups = GroupsReply.model_validate_json(reply.content)
    assert groups.usage.cached_tokens > 0
    for result in groups.data:
        assert result.status in ("unparsed", "truncated")
        assert {one.status for one in result.comparisons} <= {"unparsed", "truncated"}
        assert all(one.tokens > 0 for one in result.comparisons)
        assert set(result.scores) == {None}
    pair = {"prompt": "q", "chosen": "a", "rejected": "b"}
    reply = await client.post("/v1/pairs", json={"items": [pair], "max_critique_tokens": 24})
    (one,) = reply.json()["data"]
    PairResult.model_validate(one)
    assert one["status"] in ("unparsed", "truncated")
    (card,) = (await client.get("/v1/models")).json()["data"]
    assert (card["kinds"], card["modes"]) == (["judge"], ["generate"])
    assert card["default_tokens"] == {"judge": 1024}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def judge(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Judge]:
    """The scripted judge, its templates from a file, with few places in the engine."""
    folder: Path = tmp_path_factory.mktemp("scripted")
    build_scripted_judge(folder)
    templates = folder / "templates.json"
    templates.write_text(TEMPLATES.model_dump_json())
    settings = {
        "engine": "vllm",
        "checkpoint": folder,
        "dtype": "float32",
        "kv_cache_gib": 0.25,
        "max_num_seqs": PLACES,
        "stock_judge": templates,
    }
    engine = build_engine(Settings(**settings))
    assert isinstance(engine, VllmEngine)
    async with serving(engine) as client:
        reply = await client.get("/ready")
        assert reply.status_code == 200, reply.text
        yield Judge(engine, client)


async def test_faults_in_the_middle_of_a_group_leave_the_others_right(judge: Judge) -> None:
    """Two answers whose comparisons end in scores, one that is never parsed, one without end:
    every comparison is typed by what its own text was, and scores come from the good ones."""
    result = await judge.group("a!", "b!", "c?", "d#", max_critique_tokens=40)
    expected = {"!": "ok", "?": "unparsed", "#": "truncated"}
    responses = ["a!", "b!", "c?", "d#"]
    for one in result.comparisons:
        assert one.status == expected[responses[one.second][-1]], one
        assert one.scores == ((2.0, 8.0) if one.status == "ok" else None)
        assert one.critique is not None
    assert (result.status, len(result.comparisons)) == ("partial", 12)
    # As first in one good comparison, as second in three; the others were first twice.
    assert result.scores == pytest.approx([(2 + 3 * 8) / 4, (2 + 3 * 8) / 4, 2.0, 2.0])
    assert result.scores_from == [4, 4, 2, 2]
    assert result.order_consistency == 0.0


async def test_the_additive_fit_takes_the_position_out_of_what_is_missing(judge: Judge) -> None:
    """This judge knows positions only: complete data would give everybody 5, and so does the fit,
    for those too who lost all games in which they were second."""
    result = await judge.group("a!", "b!", "c?", "d#", max_critique_tokens=40, aggregate="additive")
    assert result.scores == pytest.approx([5.0] * 4)


async def test_at_the_deadline_what_is_finished_counts(judge: Judge) -> None:
    """Endless judgements are taken out of the engine; the finished one keeps its scores."""
    result = await judge.group("d#", "a!", max_critique_tokens=2000, critiques=16, deadline_ms=4000)
    statuses = {(one.first, one.second): one.status for one in result.comparisons}
    assert statuses == {(0, 1): "ok", (1, 0): "deadline"}
    assert (result.status, result.scores) == ("partial", [2.0, 8.0])
    await judge.until("vllm:num_requests_running", lambda running: running == 0)


async def test_siblings_are_computed_from_where_they_differ(judge: Judge) -> None:
    """Of a group that no cache has seen, sent at once, everything up to the first answer is
    computed once: what is left is one prompt, and of each sibling its end and part of a block. The
    picture is preprocessed once."""
    prompt = "Something about this picture that nobody has asked before. " * 12
    responses = [f"answer {n}!" for n in range(4)]
    queries, hits = "vllm:mm_cache_queries_total", "vllm:mm_cache_hits_total"
    before = await judge.metric(queries) - await judge.metric(hits)
    reply = await judge.groups(group(*responses, shade=7, prompt=prompt))
    assert reply.data[0].status == "ok"
    assert await judge.metric(queries) - await judge.metric(hits) - before == 1
    count = len(reply.data[0].comparisons)
    one_prompt = reply.usage.prompt_tokens / count
    renderer = judge.engine.renderer
    shared = renderer.render_judge(prompt=prompt, first="", second="", images=1)
    ends = one_prompt - len(
        shared
    )  # of both answers and of what the picture's placeholder grows by
    computed = reply.usage.prompt_tokens - reply.usage.cached_tokens
    assert one_prompt > 400
    assert computed <= one_prompt + (count - 1) * (ends + 32 + 16)
    again = await judge.groups(group(*responses, shade=7, prompt=prompt))
    assert again.data == reply.data


async def test_a_small_group_does_not_wait_for_a_large_one(judge: Judge) -> None:
    """With four places and 56 long comparisons ahead, a pair is served in turn."""
    before = await judge.metric(COMPARISONS)
    large = asyncio.create_task(judge.group(*(f"{n}#" for n in range(8)), max_critique_tokens=60))
    arrived = await judge.until(COMPARISONS, lambda finished: finished >= before + 4)
    await judge.group("a#", "b#", max_critique_tokens=60)
    took = await judge.metric(COMPARISONS) - arrived
    assert took <= 2 * 2 + 3 * PLACES
    assert not large.done()
    assert (await large).status == "truncated"


async def test_pairs_in_both_orders(judge: Judge) -> None:
    """A judge of positions contradicts itself, and says nothing; one bad order is no number."""
    items = [
        {"prompt": "q", "chosen": "a!", "rejected": "b!"},
        {"prompt": "q", "chosen": "a!", "rejected": "b?"},
    ]
    reply = await judge.client.post("/v1/pairs", json={"items": items})
    good, bad = PairsReply.model_validate_json(reply.content).data
    assert (good.orders, good.delta, good.status) == ((-6.0, 6.0), 0.0, "ok")
    assert (bad.status, bad.delta) == ("unparsed", None)
    assert (bad.error or "").startswith("chosen first")


async def test_a_stock_qwen_judges_with_the_default_templates(
    judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a reward object; the engine that is running already is asked in other words."""
    running = judge.engine
    engine = build_engine(Settings(checkpoint=running._folder, stock_judge="default"))
    assert isinstance(engine, VllmEngine)
    engine._llm, engine._max_model_len = running._llm, running.max_model_len
    engine._provenance = running.provenance

    async def nothing() -> None: ...

    monkeypatch.setattr(engine, "start", nothing)
    monkeypatch.setattr(engine, "close", nothing)
    async with serving(engine) as client:
        await judges_without_a_score(client)


async def test_an_engine_that_dies_leaves_what_was_finished(judge: Judge) -> None:
    """The last test of this engine: its process is killed in the middle of a group. The stream
    ends whole, the finished comparison counts, the others are `internal`."""
    import psutil

    body = {"items": [group("d#", "a!")], "max_critique_tokens": 2000, "critiques": 16}
    before = await judge.metric(COMPARISONS)
    headers = {"Accept": "application/x-ndjson"}
    pending = asyncio.create_task(judge.client.post("/v1/groups", json=body, headers=headers))
    await judge.until(COMPARISONS, lambda finished: finished > before)
    for child in psutil.Process().children(recursive=True):
        if "EngineCore" in child.name():
            child.kill()
    first, last = [json.loads(line) for line in (await pending).text.splitlines()]
    result = GroupResult.model_validate(first)
    statuses = {(one.first, one.second): one.status for one in result.comparisons}
    assert statuses == {(0, 1): "ok", (1, 0): "internal"}
    assert (result.status, result.scores) == ("partial", [2.0, 8.0])
    assert last["object"] == "list"
    assert (await judge.client.get("/ready")).status_code == 503


async def test_a_stock_llava_onevision_judges_with_the_default_templates(tmp_path: Path) -> None:
    """As transformers 5 writes it, with names of tensors that vLLM's own class does not know."""
    build_tiny_stock(tmp_path, "llava_onevision")
    settings = {"checkpoint": tmp_path, "dtype": "float32", "kv_cache_gib": 0.25}
    engine = build_engine(Settings(**settings, stock_judge="default"))
    async with serving(engine) as client:
        await judges_without_a_score(client)
