"""A service and a real Prometheus on this machine, without Docker, with demo load.

    make monitoring                              until Ctrl-C
    make monitoring ARGS="--seconds 60"          for a minute
    make monitoring ARGS="--seconds 400 --pictures runs/pictures"

Starts the bundled model, callers that score, compare and rank, and a Prometheus that scrapes both
and evaluates the rules; prints their addresses; stops them all in the end. Everything listens on
the loopback address only. `--pictures` draws every dashboard from what was recorded.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
import time
from pathlib import Path

from live.load import CALLERS, loaded
from live.programs import Absent
from live.prometheus import Prometheus, running
from rich.console import Console

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "models" / "digits-judge"
RULES = sorted((ROOT / "monitoring" / "rules").glob("*.yml"))
LOG = ROOT / "runs" / "monitoring-service.log"
SCRAPE_S = 2.0
RATE_WINDOW = "20s"
sys.path.append(str(ROOT / "benchmarks"))

from http_parts.processes import service  # noqa: E402 - found by the line above


def watch(console: Console, prometheus: Prometheus, seconds: float | None) -> None:
    """A line every ten seconds, until the time is over."""
    began = time.monotonic()
    while seconds is None or time.monotonic() - began < seconds:
        left_s = 10.0 if seconds is None else seconds - (time.monotonic() - began)
        time.sleep(max(0.0, min(10.0, left_s)))
        items = prometheus.series(f"sum(rate(mmreward_items_total[{RATE_WINDOW}]))")
        rate = float(items[0]["value"][1]) if items else 0.0
        firing = {
            one["labels"]["alertname"] for one in prometheus.alerts() if one["state"] == "firing"
        }
        said = ", ".join(sorted(firing)) or "none"
        elapsed_s = time.monotonic() - began
        console.print(f"[{elapsed_s:5.0f} s] {rate:.1f} items/s, alerts: {said}", markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Service, Prometheus and demo load.")
    parser.add_argument("--seconds", type=float, help="stop by itself after so long")
    parser.add_argument("--callers", type=int, default=CALLERS, help="of the demo load")
    parser.add_argument("--pictures", type=Path, help="draw the dashboards into this folder")
    options = parser.parse_args()
    console = Console(highlight=False)
    # `kill` is to clean up as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return _run(console, options)
    except Absent as error:
        console.print(f"monitoring: {error}", markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("stopped")
        return 0


def _run(console: Console, options: argparse.Namespace) -> int:
    LOG.parent.mkdir(exist_ok=True)
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(LOG.open("w"))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with console.status("starting vLLM with the bundled model"):
            _, port = stack.enter_context(
                service(CHECKPOINT, "float32", log, {"MMREWARD_KV_CACHE_GIB": "0.25"})
            )
        trainer = stack.enter_context(loaded(f"http://127.0.0.1:{port}", callers=options.callers))
        targets = {"mmreward": f"127.0.0.1:{port}", "trainer": trainer}
        prometheus = stack.enter_context(running(folder, targets, rules=RULES, interval_s=SCRAPE_S))
        console.print(
            f"service     http://127.0.0.1:{port}/docs   its metrics at /metrics\n"
            f"trainer     http://{trainer}/metrics\n"
            f"Prometheus  {prometheus.url}   its alerts at /alerts\n"
            "Ctrl-C ends all of it.",
            markup=False,
        )
        began = time.monotonic()
        watch(console, prometheus, options.seconds)
        if options.pictures is not None:
            from draw import draw_all

            seconds = time.monotonic() - began
            for path in draw_all(
                prometheus, options.pictures, seconds=seconds, rate_window=RATE_WINDOW
            ):
                console.print(f"drew {path}", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
