"""A deterministic engine without a model: for tests, demonstrations and load on the HTTP layer.

Scores are a hash of token ids and picture hashes, so the same item always has the same score, and
a critique that was written and is then given scores what it scored when it was written. Markers in
a prompt, response or critique make things go wrong for real:

    [[truncated]] [[unparsed]] [[not_finite]]   status of every critique
    [[some_truncated]]                          status of every second critique
    [[some_unparsed]]                           of a judge: of every second judgement
    [[quality=7]]                               of a judge: that answer gets 7 points
    [[first_wins]]                              of a judge: the answer shown first wins
    [[slow]]                                    half a minute before the answer
    [[refused_image]] [[too_long]]              the engine's refusals
    [[fault]]                                   an exception nobody expects
    [[dead]]                                    the engine stops for good
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import re
from collections.abc import Sequence
from typing import Any

from mmreward_client.schema import CritiqueStatus
from PIL import Image

from mmreward_service.engine.fake_checkpoint import fake_spec, fake_tokenizer_json
from mmreward_service.engine.fake_slots import Slots
from mmreward_service.engine.protocol import (
    CritiqueJob,
    EngineDead,
    ImageRefused,
    Media,
    Outcome,
    PromptTooLong,
    Reading,
    ReadJob,
    TokenUsage,
)
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import GoldenItem, Kind, RewardSpec

_SLOW_S = 30.0
_JUDGED = re.compile(
    r"Question: (?P<question>.*)\nFirst: (?P<first>.*)\nSecond: (?P<second>.*)\nJudgement:",
    re.DOTALL,
)
_QUALITY = re.compile(r"\[\[quality=(\d+)\]\]")
_STATUSES: tuple[CritiqueStatus, ...] = ("truncated", "unparsed", "not_finite")


class FakeEngine:
    """The Engine of `engine.protocol` without a model.

    Args:
        seconds_per_token: what a token of a critique costs.
        start_s: how long loading takes.
        drift: added to every score, as a wrong build would.
        golden_marker: added to the critique of the golden item.
        kinds: what the checkpoint is; without "critique" it has no head and no golden item.
        slots: how many jobs run at once, the others wait by priority; None: all run.
    """

    def __init__(
        self,
        *,
        model_name: str = "fake",
        max_model_len: int = 4096,
        seconds_per_token: float = 0.0,
        start_s: float = 0.0,
        drift: float = 0.0,
        golden_marker: str = "",
        kinds: Sequence[Kind] = ("critique", "judge"),
        slots: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.max_model_len = max_model_len
        self.running = 0
        self.finished = 0
        self.aborted = 0
        self.tokens_done = 0.0
        self.pictures_seen: list[Image.Image] = []
        self._seconds_per_token = seconds_per_token
        self._start_s = start_s
        self._drift = 0.0
        self._dead = False
        self._started = False
        self._slots = Slots(slots)
        self.spec: RewardSpec = fake_spec(kinds=kinds)
        self.renderer = PromptRenderer(fake_tokenizer_json(), self.spec)
        if "critique" in kinds:
            golden = self._golden(golden_marker)
            self.spec = self.spec.model_copy(update={"golden": [golden]})
        self._drift = drift

    @property
    def provenance(self) -> dict[str, Any]:
        if not self._started:
            return {}
        return {
            "fingerprint": hashlib.sha256(self.model_name.encode()).hexdigest(),
            "model": self.model_name,
            "dtype": "float32",
        }

    async def start(self) -> None:
        await asyncio.sleep(self._start_s)
        self._started = True

    async def close(self) -> None:
        self._dead = True

    async def check(self) -> None:
        if self._dead or not self._started:
            raise EngineDead("the fake engine has stopped")

    async def critique(self, job: CritiqueJob) -> Outcome:
        markers = await self._begin(job.prompt_token_ids, job.media, job.max_tokens)
        readings = [self._write(job, markers, sample) for sample in range(job.critiques)]
        await self._work(max(reading.tokens for reading in readings), markers, job.priority)
        written = sum(reading.tokens for reading in readings)
        return Outcome(readings, TokenUsage(len(job.prompt_token_ids), 0, written))

    async def read(self, job: ReadJob) -> Outcome:
        markers = await self._begin(job.prompt_token_ids, job.media, 1)
        await self._work(1, markers, job.priority)
        reading = Reading("ok", self._score(job.prompt_token_ids, job.media))
        if "not_finite" in markers:
            reading = Reading("not_finite", error="the head gave no finite number")
        return Outcome([reading], TokenUsage(len(job.prompt_token_ids), 0, 1))

    async def write(self, job: CritiqueJob) -> Outcome:
        markers = await self._begin(job.prompt_token_ids, job.media, job.max_tokens)
        readings = [self._judge(job, markers, sample) for sample in range(job.critiques)]
        await self._work(max(reading.tokens for reading in readings), markers, job.priority)
        written = sum(reading.tokens for reading in readings)
        return Outcome(readings, TokenUsage(len(job.prompt_token_ids), 0, written))

    async def _begin(self, ids: Sequence[int], media: Media, room: int) -> str:
        await self.check()
        self.pictures_seen.extend(media.images)
        markers = self.renderer.decode(ids)
        if len(ids) + room > self.max_model_len or "[[too_long]]" in markers:
            raise PromptTooLong(f"{len(ids)} tokens and {room} more exceed {self.max_model_len}")
        if "[[refused_image]]" in markers:
            raise ImageRefused("the fake engine refuses the picture")
        if "[[fault]]" in markers:
            raise RuntimeError(f"a fault that quotes its prompt: {markers}")
        if "[[dead]]" in markers:
            self._dead = True
            raise EngineDead("the fake engine has stopped")
        return markers

    async def _work(self, tokens: int, markers: str, priority: int) -> None:
        try:
            async with self._slots.hold(priority):
                self.running += 1
                try:
                    await asyncio.sleep(_SLOW_S if "[[slow]]" in markers else 0)
                    if self._seconds_per_token:
                        await asyncio.sleep(self._seconds_per_token * tokens)
                finally:
                    self.running -= 1
            self.finished += 1
            self.tokens_done += tokens
        except asyncio.CancelledError:
            self.aborted += 1
            raise

    def _write(self, job: CritiqueJob, markers: str, sample: int) -> Reading:
        noise = (job.seed, sample, job.temperature) if job.temperature else ()
        digest = hashlib.sha256(repr((job.prompt_token_ids, job.media.hashes, noise)).encode())
        text = f" The answer has the mark {digest.hexdigest()[:8]}."
        ids = self.renderer.encode_user_text(text)
        tokens = len(ids) + 1
        status: CritiqueStatus = "ok"
        for one in _STATUSES:
            if f"[[{one}]]" in markers or (f"[[some_{one}]]" in markers and sample % 2):
                status = one
        if tokens > job.max_tokens:
            status, tokens = "truncated", job.max_tokens
            text = self.renderer.decode(ids[:tokens])
        if status != "ok":
            reason = "length" if status == "truncated" else "stop"
            return Reading(status, None, text, tokens, reason, f"the critique is {status}")
        score = self._score([*job.prompt_token_ids, *ids], job.media)
        return Reading("ok", score, text, tokens, "stop")

    def _judge(self, job: CritiqueJob, markers: str, sample: int) -> Reading:
        """Whole scores from 1 to 10, each a hash of the picture, the question and its answer."""
        found = _JUDGED.search(markers)
        assert found is not None, "not a judge prompt"
        noise = (job.seed, sample) if job.temperature else ()
        scores = [
            self._points(job, found["question"], answer, noise)
            for answer in (found["first"], found["second"])
        ]
        if "[[first_wins]]" in markers:
            scores = [max(scores) + 1, min(scores)]
        text = " Specific Criteria: none.\nAnalysis: none.\nScores: "
        text += f"\\boxed{{{scores[0]}, {scores[1]}}}"
        if "[[unparsed]]" in markers or ("[[some_unparsed]]" in markers and sample % 2):
            text = " Specific Criteria: none.\nAnalysis: it goes on without scores."
        ids = self.renderer.encode_user_text(text)
        if "[[truncated]]" in markers or len(ids) >= job.max_tokens:
            ids = ids[: job.max_tokens]
            cut = self.renderer.decode(ids)
            return Reading("truncated", None, cut, len(ids), "length", "the judgement is cut off")
        return Reading("ok", None, text, len(ids) + 1, "stop")

    def _points(self, job: CritiqueJob, question: str, answer: str, noise: tuple[Any, ...]) -> int:
        if quality := _QUALITY.search(answer):
            return int(quality[1])
        key = (question, answer, job.media.hashes, noise)
        return 1 + int.from_bytes(hashlib.sha256(repr(key).encode()).digest()[:4]) % 10

    def _score(self, ids: Sequence[int], media: Media) -> float:
        digest = hashlib.sha256(repr((list(ids), media.hashes, media.fps)).encode()).digest()
        return int.from_bytes(digest[:4]) / 2**32 * 8 - 4 + self._drift

    def _golden(self, marker: str) -> GoldenItem:
        buffer = io.BytesIO()
        Image.new("RGB", (28, 28), (40, 90, 160)).save(buffer, "PNG")
        data = buffer.getvalue()
        prompt, response = "What colour is it?", "Blue."
        critique = f" It is blue.{marker}"
        ids = self.renderer.render(
            prompt=prompt, response=response, images=1, mode="given", critique=critique
        )
        media = Media(hashes=(hashlib.sha256(data).hexdigest(),))
        return GoldenItem(
            image="data:image/png;base64," + base64.b64encode(data).decode(),
            prompt=prompt,
            response=response,
            critique=critique,
            score=self._score(ids, media),
        )
