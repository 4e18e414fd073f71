"""What the comparisons of a group cost in one request beside the same comparisons one by one.

    python benchmarks/groups.py                    227 M parameters, real photos
    python benchmarks/groups.py --data drawn       without photos

Ways of judging the same group, each with a picture that no cache has seen, in turn within one run:

    group            POST /v1/groups, every pair in both orders
    balanced         the same with every pair once
    apart            the comparisons of `group`, each a request of its own, to the same service
    block_N          `group` on a service whose KV cache has blocks of N tokens
    one_by_one       the comparisons of `group`, each a request of its own, to a service whose
                     prefix cache and cache of preprocessed pictures are off; each with its photo
                     marked anew, because the encoder's cache cannot be switched off

All requests of a way are sent at once: what differs is what is computed, not how much of it is
batched. The services run as processes of their own and are measured in turn, never at once. The
model is a stock one as a judge. Its weights are random and it never writes a score, so
comparisons end as `truncated` at the limit of tokens; each costs what a judgement of this length
costs.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from group_work import AnswerGroup, group_request, groups_of, single_requests
from groups_report import report
from http_parts.picture_counter import EXTENSION, VARIABLE, pictures_so_far
from http_parts.processes import Worker, service, worker
from measuring.machine import describe_machine
from measuring.report import RESULTS, console
from measuring.rounds import PAUSE_S, progress
from workload import PHOTOS

from models import CACHE, checkpoint, parameters, without_reward

WITHOUT_CACHES = {"enable_prefix_caching": False, "mm_processor_cache_gb": 0}
COUNTERS = {
    "prompt_tokens": "vllm:prompt_tokens_total",
    "prefix_cache_hits": "vllm:prefix_cache_hits_total",
    "picture_cache_queries": "vllm:mm_cache_queries_total",
    "picture_cache_hits": "vllm:mm_cache_hits_total",
}
PARTS = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Server:
    """A running service, and the file in which its worker counts pictures."""

    port: int
    pictures: Path


def main(
    size: Annotated[str, typer.Option(help="medium or 7b")] = "medium",
    groups: Annotated[str, typer.Option(help="answers:photos, by commas")] = "4:3,8:2,16:1",
    ways: Annotated[str, typer.Option(help="besides group and one_by_one")] = "balanced,apart",
    block: Annotated[int, typer.Option(help="block size measured beside; 0: none")] = 128,
    max_tokens: Annotated[int, typer.Option(help="of every judgement", min=1)] = 32,
    data: Annotated[str, typer.Option(help="folder with groups.jsonl, or `drawn`")] = str(PHOTOS),
    dtype: Annotated[str, typer.Option(help="of all engines")] = "float32",
    engine: Annotated[str, typer.Option(help="vllm, or fake: the HTTP layer alone")] = "vllm",
    kv_cache_gib: Annotated[float, typer.Option(help="of each engine")] = 1.0,
    cache: Annotated[Path, typer.Option(help="where built checkpoints are")] = CACHE,
    model: Annotated[Path | None, typer.Option(help="another checkpoint")] = None,
    logs: Annotated[Path, typer.Option(help="folder for the processes' logs")] = Path("/tmp"),
    output: Annotated[Path | None, typer.Option(help="JSON file of the result")] = None,
) -> None:
    """Compare groups with the same comparisons one by one."""
    machine = describe_machine()
    sizes = {int(n): int(count) for n, count in (one.split(":") for one in groups.split(","))}
    work = {n: groups_of(Path(data), n, count) for n, count in sizes.items()}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        log = stack.enter_context((logs / "mmreward_groups.log").open("w"))
        stock = None
        if engine == "vllm":
            stock = without_reward(model or checkpoint(size, cache), folder / "stock")  # type: ignore[arg-type]
        start = Starter(stack, folder, stock, dtype, kv_cache_gib, size == "7b", log)
        cached, bare = start("caches", {}), start("no_caches", WITHOUT_CACHES)
        load = stack.enter_context(worker("load.py", log=log))
        wanted = [one for one in ways.split(",") if one]
        blocks = {f"block_{block}": start("block", {"block_size": block})} if block else {}
        plan = {
            "group": cached,
            **dict.fromkeys(wanted, cached),
            **blocks,
            "one_by_one": bare,
        }
        result = {
            "machine": machine,
            "size": size if model is None else model.name,
            "engine": engine,
            "parameters": parameters(model or checkpoint(size, cache)) if stock else 0,  # type: ignore[arg-type]
            "dtype": dtype,
            "pictures": "drawn" if data == "drawn" else "photos",
            "max_tokens": max_tokens,
            "ways": list(plan),
            "measured": [],
        }
        path = output or RESULTS / f"groups_{size}.json"
        # A long run that is stopped leaves a result of the groups that it has measured.
        try:
            for entries in measure_all(load, plan, work, max_tokens, folder / "bodies.jsonl"):
                result["measured"] += entries
        except KeyboardInterrupt:
            result["stopped_early"] = True
    report(result, path)


class Starter:
    """Starts services that stop with the run."""

    def __init__(
        self,
        stack: contextlib.ExitStack,
        folder: Path,
        stock: Path | None,
        dtype: str,
        kv_cache_gib: float,
        dummy_weights: bool,
        log: IO[str],
    ) -> None:
        self._stack, self._folder, self._stock = stack, folder, stock
        self._dtype, self._log = dtype, log
        self._arguments: dict[str, Any] = {"worker_extension_cls": EXTENSION}
        if dummy_weights:
            # Several 7B models side by side: each takes its own fixed cache.
            self._arguments |= {"load_format": "dummy", "gpu_memory_utilization": 0.3}
        self._settings = {
            "PYTHONPATH": str(PARTS),
            "MMREWARD_STOCK_JUDGE": "default",
            "MMREWARD_MAX_MODEL_LEN": "2048",
            "MMREWARD_KV_CACHE_GIB": str(kv_cache_gib),
        }

    def __call__(self, name: str, arguments: dict[str, Any]) -> Server:
        console.print(f"starting the service: {name.replace('_', ' ')}")
        pictures = self._folder / f"{name}.pictures"
        settings = {
            **self._settings,
            VARIABLE: str(pictures),
            "MMREWARD_ENGINE_ARGS": json.dumps({**self._arguments, **arguments}),
        }
        if self._stock is None:
            settings = {}
        _, port = self._stack.enter_context(service(self._stock, self._dtype, self._log, settings))
        return Server(port, pictures)


def measure_all(
    load: Worker,
    plan: dict[str, Server],
    work: dict[int, list[AnswerGroup]],
    max_tokens: int,
    bodies: Path,
) -> Iterator[list[dict[str, Any]]]:
    """Per group an entry for every way; the way that goes first changes from group to group."""
    listed = [(n, group) for n, found in work.items() for group in found]
    ways, numbers = list(plan), itertools.count(1)
    with progress() as bar:
        task = bar.add_task("", total=len(ways) * (len(listed) + 1))

        def measured(way: str, n: int, group: AnswerGroup) -> dict[str, Any]:
            bar.update(task, description=f"{n} answers, {group.id}: {way}")
            lines = requests_of(way, group, numbers, max_tokens)
            bodies.write_text("\n".join(lines), encoding="utf-8")
            time.sleep(PAUSE_S)
            one = measure(load, plan[way], bodies, len(lines))
            bar.advance(task)
            return {"way": way, "answers": n, "group": group.id, **one}

        few = replace(listed[0][1], responses=listed[0][1].responses[:2])
        for way in ways:
            measured(way, 2, few)  # starts threads and fills the cache of the instructions
        for turn, (n, group) in enumerate(listed):
            order = [ways[(position + turn) % len(ways)] for position in range(len(ways))]
            yield [measured(way, n, group) for way in order]


def requests_of(way: str, group: AnswerGroup, numbers: Iterator[int], max_tokens: int) -> list[str]:
    """The bodies of a way; `numbers` are those of pictures that no cache has seen."""
    if way in ("apart", "one_by_one"):
        return single_requests(group, numbers, max_tokens, one_picture=way == "apart")
    orders = "balanced" if way == "balanced" else "both"
    return group_request(group, next(numbers), orders, max_tokens)


def measure(load: Worker, server: Server, bodies: Path, count: int) -> dict[str, Any]:
    """Seconds, tokens by the replies, and the differences of the engine's own counters."""
    before = counters(server)
    order = {"port": server.port, "path": "/v1/groups", "bodies": str(bodies)}
    one = load.ask({**order, "concurrency": count, "first": 0, "count": count})
    time.sleep(PAUSE_S)  # the engine's counters follow its replies
    after = counters(server)
    usage = one["usage"]
    return {
        "requests": count,
        "comparisons": one["comparisons"],
        "wall_s": round(one["wall_s"], 4),
        "megabytes_sent": round(one["bytes_sent"] / 1e6, 3),
        **usage,
        "computed_tokens": usage["prompt_tokens"] - usage["cached_tokens"],
        "engine": {name: after[name] - before[name] for name in after if name in before},
        "statuses": one["statuses"],
    }


def counters(server: Server) -> dict[str, int]:
    """vLLM's counters from /metrics, and the pictures that have passed the vision tower."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=60) as reply:
        lines = reply.read().decode().splitlines()
    values = {name: list(_values(lines, metric)) for name, metric in COUNTERS.items()}
    known = {name: int(sum(found)) for name, found in values.items() if found}
    pictures = pictures_so_far(server.pictures)
    return known if pictures is None else {**known, "pictures_encoded": pictures}


def _values(lines: list[str], metric: str) -> Iterator[float]:
    for line in lines:
        if line.startswith((metric + "{", metric + " ")):
            yield float(line.rpartition(" ")[2])


if __name__ == "__main__":
    typer.run(main)
