"""The subcommands of `mmreward`, each from its own module."""

from __future__ import annotations

import typer

from mmreward_client.cli import (
    annotate,
    bench,
    evaluate,
    evaluate_hallucination,
    evaluate_safety,
    groups,
    pairs,
    score,
)

app = typer.Typer(
    name="mmreward",
    help="Critiques, scores, margins and beta of multimodal responses, from a scoring service.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong usage.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("score", help="Critique and score responses to an image.")(score.score)
app.command("pairs", help="Score pairs: margin δ, its probability, β of MM-DPO.")(pairs.pairs)
app.command("groups", help="Rank responses by comparing them with each other.")(groups.groups)
app.command("annotate", help="δ, its probability and β for every pair of a data set.")(
    annotate.annotate
)
app.command("evaluate", help="Accuracy on a preference benchmark, baselines beside it.")(
    evaluate.evaluate
)
app.command("evaluate-safety", help="ASR and RtA of what a model wrote.")(
    evaluate_safety.evaluate_safety
)
app.command("evaluate-hallucination", help="CHAIR rates of image descriptions.")(
    evaluate_hallucination.evaluate_hallucination
)


app.command("bench", help="Throughput and latency of a running service under a load.")(bench.bench)


@app.callback()
def _no_options_of_its_own() -> None: ...
