"""Engine: vLLM's own metrics, and the GPU's through NVIDIA's DCGM exporter where there is one."""

from __future__ import annotations

from boards.board import Board, Row
from boards.panel import heat_map, lines, stat
from boards.query import ENGINE, MODEL, SERVICE, buckets, mean, quantile, rate, share, total

_NO_GPU = "needs a GPU and NVIDIA's DCGM exporter"


def _hits(cache: str) -> str:
    return share(
        rate(f"vllm:{cache}_hits_total", ENGINE), rate(f"vllm:{cache}_queries_total", ENGINE)
    )


_NOW = Row(
    "Now",
    [
        stat("Running", "Texts being written.", "none", total("vllm:num_requests_running", ENGINE)),
        stat("Waiting", "Texts waiting.", "none", total("vllm:num_requests_waiting", ENGINE)),
        stat(
            "KV cache",
            "Fullest KV cache of all replicas.",
            "percentunit",
            f"max(vllm:kv_cache_usage_perc{{{ENGINE}}})",
        ),
        stat(
            "Prefix cache",
            "Share of prompt tokens found in the prefix cache.",
            "percentunit",
            _hits("prefix_cache"),
        ),
        stat(
            "Picture cache",
            "Share of pictures that had been prepared for the model before.",
            "percentunit",
            _hits("mm_cache"),
        ),
        stat(
            "Written",
            "Tokens written per second.",
            "short",
            rate("vllm:generation_tokens_total", ENGINE),
        ),
    ],
)

_QUEUE = Row(
    "Queue and phases",
    [
        lines(
            "Running and waiting",
            "Texts being written, and texts waiting for their turn.",
            "short",
            {
                "running": total("vllm:num_requests_running", ENGINE),
                "waiting": total("vllm:num_requests_waiting", ENGINE),
            },
        ),
        lines(
            "Time in the queue",
            "Time that texts waited inside the engine.",
            "s",
            {
                "mean": mean("vllm:request_queue_time_seconds", ENGINE),
                "p95": quantile(0.95, "vllm:request_queue_time_seconds", ENGINE),
            },
        ),
        lines(
            "Mean time by phase",
            "Mean time of a text in the queue, reading the prompt, and writing.",
            "s",
            {
                phase: mean(f"vllm:request_{phase}_time_seconds", ENGINE)
                for phase in ("queue", "prefill", "decode")
            },
            stacked=True,
        ),
        heat_map(
            "Durations in the engine",
            "How many texts took how long inside the engine; its buckets begin at 0.3 s.",
            "s",
            buckets("vllm:e2e_request_latency_seconds", ENGINE),
        ),
        lines(
            "Time between tokens",
            "Time from one token of a text to the next.",
            "s",
            {
                name: quantile(q, "vllm:inter_token_latency_seconds", ENGINE)
                for name, q in {"p50": 0.5, "p99": 0.99}.items()
            },
        ),
        lines(
            "Ends of texts",
            "Texts per second by why they ended; length means cut off.",
            "ops",
            {"{{finished_reason}}": rate("vllm:request_success_total", ENGINE, "finished_reason")},
            stacked=True,
        ),
    ],
)

_MEMORY = Row(
    "Caches and tokens",
    [
        lines(
            "KV cache in use",
            "Share of the KV cache in use, by replica.",
            "percentunit",
            {"{{instance}}": f"max by (instance)(vllm:kv_cache_usage_perc{{{ENGINE}}})"},
            maximum=1,
            width=6,
        ),
        lines(
            "Found in caches",
            "Share of prompt tokens, and of pictures, that were not computed again.",
            "percentunit",
            {"prefix": _hits("prefix_cache"), "pictures": _hits("mm_cache")},
            maximum=1,
            width=6,
        ),
        lines(
            "Preemptions",
            "Texts per second that lost their place in the KV cache and start again.",
            "ops",
            {"{{instance}}": rate("vllm:num_preemptions_total", ENGINE, "instance")},
            width=6,
        ),
        lines(
            "Tokens",
            "Tokens per second: read anew, found in the cache, written.",
            "short",
            {
                "{{source}}": rate("mmreward_prompt_tokens_total", MODEL, "source"),
                "written": rate("mmreward_completion_tokens_total", MODEL),
            },
            stacked=True,
            width=6,
        ),
    ],
)

_MACHINE = Row(
    "Machine",
    [
        lines(
            "CPU of the HTTP process",
            "Processor cores that the process of the API keeps busy, without the engine's.",
            "short",
            {"{{instance}}": rate("process_cpu_seconds_total", SERVICE, "instance")},
            width=6,
        ),
        lines(
            "Memory of the HTTP process",
            "Resident memory of the process of the API, without the engine's.",
            "bytes",
            {"{{instance}}": total("process_resident_memory_bytes", SERVICE, "instance")},
            width=6,
        ),
        lines(
            "GPU use",
            "Share of time in which the GPU computes anything.",
            "percent",
            {"{{Hostname}} {{gpu}}": "avg by (Hostname,gpu)(DCGM_FI_DEV_GPU_UTIL)"},
            empty_because=_NO_GPU,
            width=6,
        ),
        lines(
            "GPU memory",
            "Memory of the GPU in use.",
            "mbytes",
            {"{{Hostname}} {{gpu}}": "avg by (Hostname,gpu)(DCGM_FI_DEV_FB_USED)"},
            empty_because=_NO_GPU,
            width=6,
        ),
        lines(
            "GPU power",
            "Electric power that the GPU draws.",
            "watt",
            {"{{Hostname}} {{gpu}}": "avg by (Hostname,gpu)(DCGM_FI_DEV_POWER_USAGE)"},
            empty_because=_NO_GPU,
            width=12,
        ),
        lines(
            "GPU faults",
            "Number of the last Xid fault that the driver reported; 0 means none.",
            "none",
            {"{{Hostname}} {{gpu}}": "max by (Hostname,gpu)(DCGM_FI_DEV_XID_ERRORS)"},
            empty_because=_NO_GPU,
            width=12,
        ),
    ],
)

BOARD = Board(
    uid="mmreward-engine",
    title="mmreward: engine",
    description="Queue, caches, tokens and hardware below the scoring service.",
    rows=[_NOW, _QUEUE, _MEMORY, _MACHINE],
)
