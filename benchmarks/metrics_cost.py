"""What recording metrics costs: throughput with and without, and microseconds per recording.

    python benchmarks/metrics_cost.py

Three services share one engine in one process: one records, two do not. All get the same requests,
one after the other within a round, in an order that changes from round to round. The two silent
ones are alike: their ratio shows what this machine can tell apart at all. vLLM's own metrics are
on in all of them. Ctrl-C ends the measurement and keeps its complete rounds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import statistics
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from digit_work import held_out_judgements
from http_parts.processes import tree_cpu_s, worker
from measuring.machine import describe_machine
from measuring.report import RESULTS, console, write_result
from measuring.rounds import interleave, ratio, spread
from over_http import request_body

from models import CACHE, checkpoint, parameters

KINDS = {"with": "recording", "without": "silent", "without, again": "silent"}
SCRAPES = 20


def main(
    rounds: Annotated[int, typer.Option(help="counted rounds", min=2)] = 20,
    requests: Annotated[int, typer.Option(help="requests of a run")] = 640,
    concurrency: Annotated[int, typer.Option(help="requests in flight")] = 64,
    loops: Annotated[int, typer.Option(help="recordings in a timed loop")] = 20_000,
    dtype: Annotated[str, typer.Option(help="of the engine")] = "float32",
    engine: Annotated[str, typer.Option(help="vllm, or fake: the HTTP layer alone")] = "vllm",
    cache: Annotated[Path, typer.Option(help="where built checkpoints are")] = CACHE,
    model: Annotated[
        Path | None, typer.Option(help="another checkpoint than the bundled one")
    ] = None,
    logs: Annotated[Path, typer.Option(help="folder for the processes' logs")] = Path("/tmp"),
    output: Annotated[Path, typer.Option(help="JSON file of the result")] = (
        RESULTS / "metrics_cost.json"
    ),
) -> None:
    """Compare a service that records its metrics with one that does not."""
    machine = describe_machine()
    folder = (model or checkpoint("small", cache)) if engine == "vllm" else None
    with tempfile.TemporaryDirectory() as temporary:
        bodies = Path(temporary) / "bodies.jsonl"
        work = held_out_judgements(requests)
        bodies.write_text("\n".join(request_body(one, None) for one in work), encoding="utf-8")
        with (logs / "mmreward_metrics_cost.log").open("w", encoding="utf-8") as log:
            measured = Measured()
            # Whoever has waited long enough gets the rounds that are complete.
            with contextlib.suppress(KeyboardInterrupt):
                asyncio.run(
                    compare(measured, folder, bodies, dtype, rounds, requests, concurrency, log)
                )
    counted = measured.complete_rounds()
    if counted < 2:
        raise typer.Exit(1)
    result = {
        "machine": machine,
        "engine": engine,
        "model": folder.name if folder else "none",
        "parameters": parameters(folder) if folder else 0,
        "dtype": dtype,
        "rounds": counted,
        "requests_per_run": requests,
        "concurrency": concurrency,
        **summary(measured.seconds, measured.cpu_s, requests),
        "scrape": measured.scrape,
        "microseconds_per_recording": recordings(loops),
    }
    report(result, output)


@dataclass
class Measured:
    """Seconds and CPU seconds of each service's runs in the order of the rounds; then the page."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in KINDS})
    cpu_s: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in KINDS})
    scrape: dict[str, Any] = field(default_factory=dict)

    def complete_rounds(self) -> int:
        """Leaves those alone; the first run of each is the warm-up and goes, too."""
        counted = max(0, min(map(len, self.seconds.values())) - 1)
        for runs in (self.seconds, self.cpu_s):
            for name, values in runs.items():
                runs[name] = values[1 : 1 + counted]
        return counted


async def compare(
    measured: Measured,
    folder: Path | None,
    bodies: Path,
    dtype: str,
    rounds: int,
    requests: int,
    concurrency: int,
    log: Any,
) -> None:
    """Start everything, and put what was measured into `measured` as it comes."""
    with (
        worker("twins.py", str(folder or "fake"), dtype, *KINDS.values(), log=log) as services,
        worker("load.py", log=log) as load,
    ):
        console.print("starting the engine and its three services")
        ports = dict(zip(KINDS, json.loads(services.read_line()), strict=True))
        order = {
            "path": "/v1/score",
            "bodies": str(bodies),
            "concurrency": concurrency,
            "first": 0,
            "count": requests,
        }

        def variant(name: str) -> Callable[[], Any]:
            async def run() -> float:
                before = tree_cpu_s(services.pid)["own"]
                one = await asyncio.to_thread(load.ask, {**order, "port": ports[name]})
                measured.cpu_s[name].append(tree_cpu_s(services.pid)["own"] - before)
                if sum(one["statuses"].values()) != requests or set(one["statuses"]) != {"ok"}:
                    raise RuntimeError(f"not all requests were scored: {one['statuses']}")
                measured.seconds[name].append(float(one["wall_s"]))
                return measured.seconds[name][-1]

            return run

        measured.scrape = {
            name: scrape_ms(ports["with"], accept)
            for name, accept in (("text", "*/*"), ("openmetrics", "application/openmetrics-text"))
        }
        # The same requests every time: after the warm-up all find the same in the engine's caches.
        await interleave({name: variant(name) for name in KINDS}, rounds)


def scrape_ms(port: int, accept: str) -> dict[str, Any]:
    """The page as Prometheus asks for it, from an idle service."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept})
    taken_ms, size = [], 0
    for _ in range(SCRAPES):
        start = time.perf_counter()
        with urllib.request.urlopen(request, timeout=60) as reply:
            size = len(reply.read())
        taken_ms.append(1e3 * (time.perf_counter() - start))
    return {"ms": spread(taken_ms, 2), "bytes": size}


def summary(
    seconds: dict[str, list[float]], cpu_s: dict[str, list[float]], requests: int
) -> dict[str, Any]:
    """Throughput of each, and of the other two beside the one without metrics."""
    throughput = {name: [requests / one for one in values] for name, values in seconds.items()}
    base = throughput["without"]
    return {
        "requests_per_s": {name: spread(values, 2) for name, values in throughput.items()},
        "api_cpu_ms_per_request": {
            name: spread([1e3 * one / requests for one in values], 3)
            for name, values in cpu_s.items()
        },
        "share_of_without": {
            name: {
                **ratio(throughput[name], base),
                "mean": round(math.exp(statistics.fmean(logs := _logs(throughput[name], base))), 4),
                "standard_error": round(statistics.stdev(logs) / math.sqrt(len(logs)), 4),
            }
            for name in KINDS
            if name != "without"
        },
    }


def _logs(values: list[float], base: list[float]) -> list[float]:
    """Logarithms of the ratios within a round: a share of 1.02 and one of 1/1.02 cancel."""
    return [math.log(a / b) for a, b in zip(values, base, strict=True)]


def recordings(repeats: int) -> dict[str, float]:
    """CPU microseconds of each thing that is recorded, the best of five runs of a loop."""
    from mmreward_service.engine.protocol import TokenUsage
    from mmreward_service.engine_watch import EngineWatch
    from mmreward_service.metrics import Metrics
    from mmreward_service.timings import Stopwatch

    metrics, watch, stopwatch = Metrics(1), EngineWatch(), Stopwatch()
    metrics.create_model("m", ["critique", "judge"], {"fingerprint": "f"})
    metrics.traffic.create_keys(["1"])
    quality, traffic, usage = metrics.quality, metrics.traffic, TokenUsage(300, 200, 40)

    def question() -> None:
        with watch.question(1):
            pass

    def stage() -> None:
        with stopwatch.stage("parse"):
            pass

    work: dict[str, Callable[[], object]] = {
        "a request": lambda: traffic.request("/v1/score", "ok", 0.3, "id", "1"),
        "a slow request, with its exemplar": lambda: traffic.request(
            "/v1/score", "ok", 31.0, "id", "1"
        ),
        "the five stages of a request": lambda: traffic.stages(stopwatch),
        "an item": lambda: quality.item("ok", ()),
        "a null": lambda: quality.item("unparsed", ("unparsed",)),
        "a text": lambda: quality.text("critique", "ok", 40),
        "a score": lambda: quality.score("critique", 1.37),
        "a margin": lambda: quality.margin("critique", -0.8),
        "a comparison": lambda: quality.comparison("ok"),
        "tokens of an answer": lambda: quality.usage(usage),
        "a picture": lambda: metrics.pictures.decoded(40_000, 50_000),
        "a question to the engine": question,
        "the clock of a stage": stage,
    }
    return {name: round(_best_us(one, repeats), 2) for name, one in work.items()}


def _best_us(work: Callable[[], object], repeats: int) -> float:
    best_s = math.inf
    for _ in range(5):
        start = time.process_time()
        for _ in range(repeats):
            work()
        best_s = min(best_s, time.process_time() - start)
    return 1e6 * best_s / repeats


def report(result: dict[str, Any], path: Path) -> None:
    shares = result["share_of_without"]
    services = [
        (
            name,
            f"{rate['median']:.1f}",
            f"{rate['min']:.1f} - {rate['max']:.1f}",
            f"{shares[name]['median']:.1%}" if name in shares else "",
            f"{shares[name]['mean']:.2%} ± {shares[name]['standard_error']:.2%}"
            if name in shares
            else "",
            f"{result['api_cpu_ms_per_request'][name]['median']:.2f}",
        )
        for name, rate in result["requests_per_s"].items()
    ]
    header = (
        "metrics",
        "requests/s",
        "range",
        "of without",
        "mean ± standard error",
        "CPU ms a request, API process",
    )
    caption = (
        f"{result['concurrency']} requests at once, {result['requests_per_run']} a run, "
        f"{result['model']} ({result['parameters'] / 1e6:.1f} M parameters, {result['dtype']}), "
        f"median of {result['rounds']} rounds"
    )
    costs = [(name, f"{us:.2f}") for name, us in result["microseconds_per_recording"].items()]
    pages = result["scrape"].items()
    remarks = [
        "`without, again` is a second service like `without`: what differs there is noise.",
        "Shares are taken within a round, their mean over logarithms.",
        "A scrape, vLLM's metrics included: "
        + ", ".join(
            f"{name} {one['ms']['median']:.1f} ms ({one['bytes'] / 1e3:.0f} kB)"
            for name, one in pages
        )
        + f", median of {SCRAPES}, from an idle service.",
    ]
    write_result(
        path,
        result,
        "What metrics cost",
        [
            (caption, header, services),
            ("One recording, best of five loops", ("what", "CPU µs"), costs),
        ],
        remarks,
    )


if __name__ == "__main__":
    typer.run(main)
