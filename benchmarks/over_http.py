"""Throughput and latency over HTTP beside the bare engine, on the same prompts, in one run.

    python benchmarks/over_http.py                 medium model, real photos as they are
    python benchmarks/over_http.py --size small    the bundled model on digits

One service, one bare engine and one load generator run as separate processes on the same cores;
they are measured in turn, never at once. One item a request. Photos repeat after 24 requests, texts
do not repeat: both sides find a photo's features in their caches, and the service still decodes
each upload. What the generator costs is measured against an endpoint that does nothing, what
the HTTP layer can do at most against the fake engine.

(The file is not called http.py: that would hide Python's own http from every script beside it.)
"""

from __future__ import annotations

import base64
import contextlib
import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from http_parts.processes import Worker, service, tree_cpu_s, worker
from measuring.machine import describe_machine
from measuring.report import RESULTS, console, write_result
from measuring.rounds import PAUSE_S, progress, ratio, spread
from workload import PHOTOS, Judgement, photo_judgements

from models import CACHE, checkpoint, parameters

DISTINCT = {"small": 2048, "medium": 512}
"""Requests prepared; rounds walk through them, so that none comes twice within a few rounds."""

COUNTS = {"small": {1: 32, 16: 320, 64: 640}, "medium": {1: 4, 16: 32, 64: 64}}
"""Requests per round and concurrency: seconds, at the medium size up to half a minute each."""


def main(
    size: Annotated[str, typer.Option(help="small or medium")] = "medium",
    rounds: Annotated[int, typer.Option(help="counted rounds", min=1)] = 5,
    concurrency: Annotated[str, typer.Option(help="requests in flight")] = "1,16,64",
    scale: Annotated[float, typer.Option(help="times the usual number of requests")] = 1.0,
    photos: Annotated[str, typer.Option(help="folder with groups.jsonl, or `drawn`")] = str(PHOTOS),
    dtype: Annotated[str, typer.Option(help="of both engines")] = "float32",
    engine: Annotated[str, typer.Option(help="vllm, or fake: the HTTP layer alone")] = "vllm",
    cache: Annotated[Path, typer.Option(help="where built checkpoints are")] = CACHE,
    model: Annotated[
        Path | None, typer.Option(help="another checkpoint, in place of a size")
    ] = None,
    logs: Annotated[Path, typer.Option(help="folder for the processes' logs")] = Path("/tmp"),
    output: Annotated[Path | None, typer.Option(help="JSON file of the result")] = None,
) -> None:
    """Compare the service with the bare engine."""
    if size not in COUNTS:
        raise typer.BadParameter("size is small or medium")
    machine = describe_machine()
    folder = None
    if engine == "vllm":
        folder = model or checkpoint(size, cache)  # type: ignore[arg-type]
    levels = [int(one) for one in concurrency.split(",")]
    counts = {n: max(n, round(COUNTS[size].get(n, 4 * n) * scale)) for n in levels}
    with tempfile.TemporaryDirectory() as temporary:
        bodies = Path(temporary) / "bodies.jsonl"
        bodies.write_text(request_bodies(size, photos), encoding="utf-8")
        with (logs / "mmreward_over_http.log").open("w") as log:
            measured = compare(folder, bodies, dtype, counts, rounds, log)
            generator = generator_cost(bodies, max(levels), sum(counts.values()), log)
    result = {
        "machine": machine,
        "size": size if model is None else model.name,
        "engine": engine,
        "parameters": parameters(folder) if folder else 0,
        "dtype": dtype,
        "pictures": "digits" if size == "small" else "photos" if photos != "drawn" else "drawn",
        "rounds": rounds,
        "levels": {n: summary(measured[n], counts[n]) for n in levels},
        "load_generator": generator,
    }
    report(result, output or RESULTS / f"over_http_{size}.json")


def request_bodies(size: str, photos: str) -> str:
    """One request of one item a line; the texts of all lines differ."""
    count = DISTINCT[size]
    if size == "small":
        from digit_work import held_out_judgements

        work = held_out_judgements(count)
    else:
        work = photo_judgements(Path(photos), count)
    return "\n".join(
        request_body(one, i if size != "small" else None) for i, one in enumerate(work)
    )


def request_body(judgement: Judgement, number: int | None) -> str:
    data = base64.b64encode(judgement.image).decode()
    # Photos have fewer answers than there are requests: a number keeps repeated ones apart.
    prompt = judgement.prompt if number is None else f"({number}) {judgement.prompt}"
    item = {
        "id": judgement.id,
        "images": [f"data:{judgement.media_type};base64,{data}"],
        "prompt": prompt,
        "response": judgement.response,
    }
    return json.dumps({"items": [item]})


def compare(
    folder: Path | None, bodies: Path, dtype: str, counts: dict[int, int], rounds: int, log: Any
) -> dict[int, dict[str, list[dict[str, Any]]]]:
    """Runs per concurrency and side; which side goes first alternates."""
    measured: dict[int, dict[str, list[dict[str, Any]]]] = {
        n: {"service": [], "bare": []} for n in counts
    }
    with contextlib.ExitStack() as stack:
        console.print("starting service, bare engine and load generator")
        pid, port = stack.enter_context(service(folder, dtype, log))
        load = stack.enter_context(worker("load.py", log=log))
        bare = stack.enter_context(
            worker("bare.py", str(folder or "fake"), str(bodies), dtype, log=log)
        )
        bare.read_line()
        sides = {
            "service": lambda order: run_service(load, pid, port, bodies, order),
            "bare": lambda order: run_bare(bare, order),
        }
        with progress() as bar:
            task = bar.add_task("", total=2 * len(counts) * (rounds + 1))
            first = 0
            for number in range(-1, rounds):
                for n, count in counts.items():
                    # The warm-up round is short: it starts threads and fills caches.
                    many = count if number >= 0 else max(n, count // 4)
                    order = {"concurrency": n, "first": first, "count": many}
                    first += many
                    for name in ("service", "bare") if number % 2 else ("bare", "service"):
                        bar.update(task, description=f"round {number + 1}, {n} at once: {name}")
                        time.sleep(PAUSE_S)
                        one = sides[name](order)
                        if number >= 0:
                            measured[n][name].append(one)
                        bar.advance(task)
    return measured


def run_service(
    load: Worker, pid: int, port: int, bodies: Path, order: dict[str, Any]
) -> dict[str, Any]:
    before = tree_cpu_s(pid)
    one = load.ask({**order, "port": port, "path": "/v1/score", "bodies": str(bodies)})
    after = tree_cpu_s(pid)
    one["load_cpu_s"] = one.pop("cpu_s")
    one["api_cpu_s"] = after["own"] - before["own"]
    one["engine_cpu_s"] = after["children"] - before["children"]
    return one


def run_bare(bare: Worker, order: dict[str, Any]) -> dict[str, Any]:
    before = tree_cpu_s(bare.pid)
    one = bare.ask(order)
    after = tree_cpu_s(bare.pid)
    one["api_cpu_s"] = after["own"] - before["own"]
    one["engine_cpu_s"] = after["children"] - before["children"]
    return one


def generator_cost(bodies: Path, concurrency: int, count: int, log: Any) -> dict[str, Any]:
    """The same requests against nothing, and against the service without a model."""
    order = {"concurrency": concurrency, "first": 0, "count": count, "bodies": str(bodies)}
    costs = {}
    with worker("load.py", log=log) as load:
        for name, endpoint in (("null_endpoint", null_endpoint), ("fake_engine", fake_service)):
            console.print(f"load generator against the {name.replace('_', ' ')}")
            with endpoint(log) as (pid, port):
                target = {**order, "port": port, "path": "/v1/score"}
                load.ask({**target, "count": min(count, 4 * concurrency)})
                before = sum(tree_cpu_s(pid).values())
                one = load.ask(target)
                costs[name] = {
                    "items_per_s": round(count / one["wall_s"], 1),
                    "load_cpu_ms_per_request": round(1e3 * one["cpu_s"] / count, 3),
                    "server_cpu_ms_per_request": round(
                        1e3 * (sum(tree_cpu_s(pid).values()) - before) / count, 3
                    ),
                    "kilobytes_per_request": round(one["bytes_sent"] / count / 1e3, 1),
                    "statuses": one["statuses"],
                }
    return costs


@contextlib.contextmanager
def null_endpoint(log: Any) -> Iterator[tuple[int, int]]:
    with worker("null_endpoint.py", log=log) as one:
        yield one.pid, int(one.read_line())


@contextlib.contextmanager
def fake_service(log: Any) -> Iterator[tuple[int, int]]:
    with service(None, "auto", log) as found:
        yield found


def summary(runs: dict[str, list[dict[str, Any]]], count: int) -> dict[str, Any]:
    """Throughput, latency and CPU of both sides, and the share that the service keeps."""
    throughput = {side: [count / one["wall_s"] for one in found] for side, found in runs.items()}
    found: dict[str, Any] = {
        "requests_per_round": count,
        "share_of_bare": ratio(throughput["service"], throughput["bare"]),
    }
    for side, ones in runs.items():
        latencies_ms = sorted(1e3 * one for run in ones for one in run["latencies_s"])
        total = count * len(ones)
        found[side] = {
            "items_per_s": spread(throughput[side], 3),
            "p50_ms": round(percentile(latencies_ms, 0.5), 1),
            "p99_ms": round(percentile(latencies_ms, 0.99), 1),
            "latencies": len(latencies_ms),
            "cpu_ms_per_item": {
                name: round(1e3 * sum(one[f"{name}_cpu_s"] for one in ones) / total, 2)
                for name in ("load", "api", "engine")
                if f"{name}_cpu_s" in ones[0]
            },
            "statuses": added(one["statuses"] for one in ones),
            "critique_tokens": sum(one["critique_tokens"] for one in ones),
        }
    return found


def percentile(values: list[float], share: float) -> float:
    """Of sorted values: the smallest one that at least this share does not exceed."""
    return values[min(len(values), math.ceil(share * len(values))) - 1]


def added(counts: Any) -> dict[str, int]:
    total: dict[str, int] = {}
    for one in counts:
        for status, number in one.items():
            total[status] = total.get(status, 0) + number
    return total


def report(result: dict[str, Any], path: Path) -> None:
    rows = []
    for n, level in result["levels"].items():
        for side in ("service", "bare"):
            one = level[side]
            rate, cpu = one["items_per_s"], one["cpu_ms_per_item"]
            rows.append(
                (
                    f"{n} at once, {'over HTTP' if side == 'service' else 'bare engine'}",
                    f"{rate['median']:.2f}",
                    f"{rate['min']:.2f} - {rate['max']:.2f}",
                    f"{level['share_of_bare']['median']:.1%}" if side == "service" else "",
                    f"{one['p50_ms']:.0f}",
                    f"{one['p99_ms']:.0f}",
                    f"{cpu.get('load', 0):.1f} / {cpu['api']:.1f} / {cpu['engine']:.0f}",
                    ", ".join(f"{k} {v}" for k, v in one["statuses"].items()),
                )
            )
    header = (
        "requests",
        "items/s",
        "range",
        "of bare",
        "p50 ms",
        "p99 ms",
        "CPU ms/item: load / API / engine",
        "items",
    )
    costs = result["load_generator"]
    caption = (
        f"{result['pictures']}, {result['parameters'] / 1e6:.1f} M parameters, {result['dtype']}, "
        f"median of {result['rounds']} rounds"
    )
    remarks = [
        f"Load generator against {name.replace('_', ' ')}: {cost['items_per_s']} requests/s, "
        f"{cost['load_cpu_ms_per_request']} ms CPU a request in the generator, "
        f"{cost['server_cpu_ms_per_request']} ms in the server, "
        f"{cost['kilobytes_per_request']} kB a request."
        for name, cost in costs.items()
    ]
    remarks.append(
        "All processes share the same cores: the generator's CPU is part of what HTTP costs here."
    )
    write_result(
        path, result, f"Over HTTP, {result['size']} model", [(caption, header, rows)], remarks
    )


if __name__ == "__main__":
    typer.run(main)
