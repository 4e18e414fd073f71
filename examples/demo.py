"""The main job in one go: the bundled model judges answers about real handwritten digits.

Starts `mmreward-serve models/digits-judge` on a free port of this machine, asks it through
`RewardClient` to score two answers about each of a few pictures, and prints what came back: the
critique that the model wrote before each score, the scores, their difference delta, the
probability that the first answer is the better one, and the beta that MM-DPO would train this pair
with. Then the same model, as a judge, ranks a group of answers by comparing each with the others.
The pictures are drawn from test digits that the model was never trained on.

    make demo                        .venv/bin/python examples/demo.py --pairs 20 --seed 5

Exit code 0 if every pair and every answer of the group got its numbers, 1 otherwise.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from mmreward_client import GroupResult, PairResult, PairsReply, RewardClient
from mmreward_trainer.digits import wordings
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.pairs import KINDS, Pair, draw_pair
from mmreward_trainer.digits_judge.groups import Group, draw_group
from PIL import Image
from rich.console import Console
from rich.table import Table
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINT = ROOT / "models" / "digits-judge"
SERVER_LOG = ROOT / "runs" / "demo-server.log"
START_TIMEOUT_S = 900.0
GROUP_SIZE = 4
INK = " .:-=+*#%@"


class DemoFailed(Exception):
    """The demo cannot go on; the message says why."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_service(console: Console) -> Iterator[str]:
    """The service with the bundled model, ready to score; stopped in every case."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "mmreward-serve"), str(CHECKPOINT)]
    SERVER_LOG.parent.mkdir(exist_ok=True)
    with SERVER_LOG.open("w") as log:
        # A process group of its own, so that the engine's process can be stopped with it.
        process = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(console, process, url)
        yield url
    finally:
        stop(process)


def wait_until_ready(console: Console, process: subprocess.Popen[bytes], url: str) -> None:
    started = time.monotonic()
    next_line_s = 0.0
    with RewardClient(url) as client, console.status("starting") as status:
        while True:
            elapsed_s = time.monotonic() - started
            if process.poll() is not None:
                raise DemoFailed(f"the service stopped while starting.\n{end_of_log()}")
            readiness = client.ready()
            if readiness:
                console.print(f"The service is ready after {elapsed_s:.0f} s, at {url}.")
                return
            if elapsed_s > START_TIMEOUT_S:
                raise DemoFailed(f"not ready after {elapsed_s:.0f} s: {readiness}.\n{end_of_log()}")
            progress = f"Starting vLLM with the bundled model: {elapsed_s:.0f} s"
            status.update(progress)
            if not console.is_terminal and elapsed_s >= next_line_s:
                console.print(progress)
                next_line_s += 15
            time.sleep(0.5)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def end_of_log(lines: int = 20) -> str:
    tail = SERVER_LOG.read_text(errors="replace").splitlines()[-lines:]
    return "\n".join(f"  | {line}" for line in tail) + f"\nAll of it: {SERVER_LOG}"


def draw_pairs(count: int, seed: int) -> list[Pair]:
    """Test pairs, each kind in turn; every fourth one hides the digit that matters."""
    known = words_in(vars(wordings))
    pairs: list[Pair] = []
    index = 0
    while len(pairs) < count:
        pair = draw_pair(
            "test",
            "trained",
            seed,
            index,
            kind=KINDS[len(pairs) % len(KINDS)],
            hard_share=1.0 if len(pairs) % 4 == 3 else 0.0,
        )
        index += 1
        # Some texts hold made-up words, so that training leans on no single word. Not shown here.
        if words_in((pair.prompt, pair.chosen.text, pair.rejected.text)) <= known:
            pairs.append(pair)
    return pairs


def draw_answers(seed: int) -> Group:
    """A question to a picture that can be read, and answers of different quality."""
    known = words_in(vars(wordings))
    index = 0
    while True:
        group = draw_group("test", "trained", seed, index, GROUP_SIZE, hard_share=0.0)
        texts = (group.pair.prompt, *(answer.text for answer in group.answers))
        if words_in(texts) <= known:
            return group
        index += 1


def words_in(texts: object) -> set[str]:
    """The words of all texts in a nest of tuples, lists and dictionaries."""
    if isinstance(texts, str):
        return set(re.findall(r"[a-z]+", texts.lower()))
    if isinstance(texts, dict):
        texts = tuple(texts.values())
    if isinstance(texts, tuple | list | frozenset):
        return set().union(*map(words_in, texts))
    return set()


def ask(url: str, pairs: list[Pair], pictures: list[Image.Image]) -> PairsReply:
    items = [
        {
            "images": [picture],
            "prompt": pair.prompt,
            "chosen": pair.chosen.text,
            "rejected": pair.rejected.text,
        }
        for pair, picture in zip(pairs, pictures, strict=True)
    ]
    with RewardClient(url) as client:
        return client.pairs(items)


def ask_group(url: str, group: Group, picture: Image.Image) -> GroupResult:
    item = {
        "images": [picture],
        "prompt": group.pair.prompt,
        "responses": [answer.text for answer in group.answers],
    }
    with RewardClient(url) as client:
        return client.groups([item]).data[0]


def show_group(console: Console, group: Group, picture: Image.Image, result: GroupResult) -> None:
    """Answers from best to worst by the judge, with the points that the picture itself gives."""
    console.rule(f"[bold]A group: {group.pair.prompt}[/bold]", align="left")
    answers = Table(box=None, padding=(0, 1), expand=True)
    answers.add_column("answer, best first", ratio=1)
    answers.add_column("judged", justify="right", no_wrap=True)
    answers.add_column("known quality", justify="right", no_wrap=True)
    rows = list(zip(group.answers, result.scores, group.points, strict=True))
    for answer, score, known in sorted(rows, key=lambda row: -(row[1] or 0.0)):
        answers.add_row(Text(answer.text), number(score, ".2f"), str(known))
    layout = Table.grid(padding=(0, 2), expand=True)
    layout.add_column(no_wrap=True)
    layout.add_column(ratio=1)
    layout.add_row(sketch(picture, colour=console.color_system is not None), answers)
    console.print(layout)
    first = result.comparisons[0]
    console.print(
        f"  {len(result.comparisons)} comparisons, each pair in both orders; both orders agree in "
        f"{number(result.order_consistency, '.0%')}. One of them:"
    )
    console.print(Text(f"  {(first.critique or first.error or 'none').strip()}", style="dim"))


def show_pair(console: Console, pair: Pair, picture: Image.Image, result: PairResult) -> None:
    answers = Table(box=None, padding=(0, 1), expand=True)
    answers.add_column("answer", ratio=4)
    answers.add_column("the model's critique", ratio=5)
    answers.add_column("score", justify="right", no_wrap=True)
    for claim, side in ((pair.chosen, result.chosen), (pair.rejected, result.rejected)):
        critique = side.critiques[0].text if side is not None and side.critiques else None
        score = None if side is None else side.score
        answers.add_row(Text(claim.text), Text((critique or "none").strip()), number(score, "+.2f"))
    console.rule(f"[bold]{pair.prompt}[/bold]" + ("  (hard)" if pair.is_hard else ""), align="left")
    layout = Table.grid(padding=(0, 2), expand=True)
    layout.add_column(no_wrap=True)
    layout.add_column(ratio=1)
    layout.add_row(sketch(picture, colour=console.color_system is not None), answers)
    console.print(layout)
    if result.status == "ok":
        console.print(
            f"  δ {number(result.delta, '+.2f')}   P(first is better) {number(result.prob, '.3f')}"
            f"   β {number(result.beta, '.4f')}"
        )
    else:
        console.print(Text(f"  {result.status}: {result.error}", style="red"))


def number(value: float | None, form: str) -> str:
    return "none" if value is None else format(value, form)


def sketch(picture: Image.Image, *, colour: bool) -> Text:
    """The picture in characters: two pixels a character in colour, else by density of ink."""
    side = 28 if picture.width <= 28 else 40
    grey = picture.convert("L").resize((side, side))
    if grey.getpixel((0, 0)) > 127:  # dark ink on light paper
        grey = grey.point(lambda shade: 255 - shade)
    text = Text()
    for y in range(0, side, 2):
        for x in range(side):
            top, bottom = grey.getpixel((x, y)), grey.getpixel((x, y + 1))
            if colour:
                text.append("▀", style=f"rgb({top},{top},{top}) on rgb({bottom},{bottom},{bottom})")
            else:
                text.append(INK[(top + bottom) * (len(INK) - 1) // 510])
        text.append("\n")
    return text


def summarise(console: Console, reply: PairsReply, seconds: float) -> None:
    results = reply.data
    right = sum(result.delta is not None and result.delta > 0 for result in results)
    fingerprint = reply.provenance.fingerprint[:12]
    console.rule(align="left")
    console.print(
        f"{right} of {len(results)} pairs: the true answer (always shown first) scored higher. "
        f"{len(results)} pairs took {seconds:.1f} s, "
        f"{reply.usage.completion_tokens} tokens of critique. Scores pinned by {fingerprint}…"
    )
    console.print(
        "\nWhat next:\n"
        "  make serve                          keep this model serving on http://127.0.0.1:8000\n"
        "  .venv/bin/mmreward pairs --help     score pairs of your own from a file\n"
        "  examples/demo.py                    the code of this demo: the client in a few lines\n"
        "  README.md                           the API, the metrics, and serving a model of yours",
        highlight=False,
        markup=False,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Judge answers about handwritten digits.")
    parser.add_argument("--pairs", type=int, default=len(KINDS) + 1, help="how many pairs")
    parser.add_argument("--seed", type=int, default=1, help="which pairs")
    options = parser.parse_args()
    console = Console(width=None if sys.stdout.isatty() else 110, highlight=False)
    pairs = draw_pairs(options.pairs, options.seed)
    group = draw_answers(options.seed)
    *pictures, portrait = [
        Image.fromarray(drawn) for drawn in render_pictures([*pairs, group.pair])
    ]
    try:
        with running_service(console) as url:
            started = time.monotonic()
            reply = ask(url, pairs, pictures)
            seconds = time.monotonic() - started
            judged = ask_group(url, group, portrait)
    except DemoFailed as error:
        console.print(f"demo: {error}", markup=False)
        return 1
    for pair, picture, result in zip(pairs, pictures, reply.data, strict=True):
        show_pair(console, pair, picture, result)
    show_group(console, group, portrait, judged)
    summarise(console, reply, seconds)
    is_whole = judged.status == "ok" and all(result.status == "ok" for result in reply.data)
    return 0 if is_whole else 1


if __name__ == "__main__":
    sys.exit(main())
