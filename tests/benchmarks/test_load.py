"""The load generator against endpoints without a model: real processes, real sockets."""

from __future__ import annotations

import json
from pathlib import Path

from http_parts.processes import tree_cpu_s, worker
from over_http import null_endpoint, request_body
from workload import drawn_judgements


def test_the_generator_sends_every_request_once_and_reads_every_reply(tmp_path: Path) -> None:
    """Forty requests over eight connections: forty latencies, forty items, bytes as written."""
    bodies = tmp_path / "bodies.jsonl"
    lines = [request_body(one, i) for i, one in enumerate(drawn_judgements(5))]
    bodies.write_text("\n".join(lines), encoding="utf-8")
    order = {"path": "/v1/score", "bodies": str(bodies), "concurrency": 8, "first": 3, "count": 40}
    with (tmp_path / "log").open("w") as log, null_endpoint(log) as (pid, port):
        with worker("load.py", log=log) as load:
            found = load.ask({**order, "port": port})
        assert tree_cpu_s(pid)["own"] >= 0
    assert len(found["latencies_s"]) == 40
    assert found["statuses"] == {"ok": 40}
    assert found["critique_tokens"] == 40 * 64
    assert found["bytes_sent"] > 8 * sum(map(len, lines))


def test_a_request_body_is_one_item_with_its_picture() -> None:
    """What is sent parses as the service's own request model."""
    from mmreward_client.schema import ScoreItem, ScoreRequest

    judgement = drawn_judgements(1)[0]
    request = ScoreRequest.model_validate(json.loads(request_body(judgement, 7)))
    item = ScoreItem.model_validate(request.items[0])
    assert item.prompt == f"(7) {judgement.prompt}"
    assert item.images[0].startswith("data:image/png;base64,")
