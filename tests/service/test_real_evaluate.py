"""`mmreward evaluate` through the real service with the bundled model, against another road.

The other road is plain transformers: the same held-out pictures, questions and answers, critiques
and scores without service and engine, and the accuracy counted by hand.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mmreward_client.cli.app import app
from mmreward_trainer.digits.batches import render_pictures
from mmreward_trainer.digits.pairs import Pair, draw_pair
from mmreward_trainer.transformers_scorer import TransformersScorer
from PIL import Image
from service_kit.real import DIGITS, ServiceClient, real_service
from typer.testing import CliRunner

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(1800)]

PAIRS = 40


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Pairs of the test split, clean and hard, in wordings that were never trained."""
    return [draw_pair("test", "held", 7, index) for index in range(PAIRS)]


@pytest.fixture(scope="module")
def pictures(pairs: list[Pair]) -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in render_pictures(pairs)]


@pytest.fixture(scope="module")
def benchmark(
    pairs: list[Pair], pictures: list[Image.Image], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A file of them; two pairs to an id, so that ACC+ is another figure than ACC."""
    folder = tmp_path_factory.mktemp("digits")
    rows = []
    for number, (pair, picture) in enumerate(zip(pairs, pictures, strict=True)):
        picture.save(folder / f"{number}.png")
        rows.append(
            {
                "id": f"q{number // 2}",
                "image": f"{number}.png",
                "prompt": pair.prompt,
                "chosen": pair.chosen.text,
                "rejected": pair.rejected.text,
                "category": pair.kind,
            }
        )
    (folder / "bench.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder / "bench.jsonl"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceClient]:
    with real_service(DIGITS, tmp_path_factory.mktemp("service") / "log") as client:
        yield client


@pytest.fixture(scope="module")
def directly(pairs: list[Pair], pictures: list[Image.Image]) -> list[tuple[Any, Any]]:
    """Chosen and rejected of each pair by transformers."""
    scorer = TransformersScorer(DIGITS)
    images = [[picture] for picture in pictures]
    prompts = [pair.prompt for pair in pairs]
    chosen = scorer.critique(images, prompts, [pair.chosen.text for pair in pairs])
    rejected = scorer.critique(images, prompts, [pair.rejected.text for pair in pairs])
    return list(zip(chosen, rejected, strict=True))


def test_the_figures_are_those_of_the_model(
    service: ServiceClient,
    benchmark: Path,
    pairs: list[Pair],
    directly: list[tuple[Any, Any]],
    tmp_path: Path,
) -> None:
    """Rewards within 1e-4, the critiques word for word, ACC and ACC+ as counted by hand."""
    output = tmp_path / "answers.jsonl"
    command = ["evaluate", str(benchmark), "--url", str(service.base_url), "--output", str(output)]
    done = CliRunner().invoke(app, [*command, "--benchmark", "pairs", "--json"])
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    answers = [json.loads(line) for line in output.read_text().splitlines()]
    for answer, (chosen, rejected) in zip(answers, directly, strict=True):
        assert answer["status"] == "ok"
        assert answer["critic"] == [chosen.text, rejected.text]
        assert answer["rewards"] == pytest.approx([chosen.score, rejected.score], abs=1e-4)

    right = [chosen.score > rejected.score for chosen, rejected in directly]
    assert said["overall"]["acc"] == sum(right) / PAIRS
    assert said["overall"]["acc_plus"] == sum(
        map(all, zip(right[::2], right[1::2], strict=True))
    ) / (PAIRS // 2)
    by_kind = defaultdict(list)
    for pair, is_right in zip(pairs, right, strict=True):
        by_kind[pair.kind].append(is_right)
    found = {name: figures["acc"] for name, figures in said["categories"].items()}
    assert found == {kind: sum(rights) / len(rights) for kind, rights in by_kind.items()}
    fingerprint = service.get("/v1/models").json()["data"][0]["provenance"]["fingerprint"]
    assert {answer["fingerprint"] for answer in answers} == {fingerprint}


def test_reference_critiques_have_the_scores_of_their_writer(
    service: ServiceClient, benchmark: Path, directly: list[tuple[Any, Any]], tmp_path: Path
) -> None:
    """The same critiques given as text: the same rewards, as far as they tokenise alike."""
    rows = [json.loads(line) for line in benchmark.read_text().splitlines()]
    for row, (chosen, rejected) in zip(rows, directly, strict=True):
        row |= {"chosen_reason": chosen.text, "rejected_reason": rejected.text}
    given = tmp_path / "given.jsonl"
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "answers.jsonl"
    command = ["evaluate", str(given), "--url", str(service.base_url), "--output", str(output)]
    options = ["--mode", "given", "--image-root", str(benchmark.parent), "--json"]
    done = CliRunner().invoke(app, [*command, *options])
    assert done.exit_code == 0, done.output
    close = 0
    for line, (chosen, rejected) in zip(output.read_text().splitlines(), directly, strict=True):
        rewards = json.loads(line)["rewards"]
        close += rewards == pytest.approx([chosen.score, rejected.score], abs=1e-4)
    assert close >= 0.9 * PAIRS
