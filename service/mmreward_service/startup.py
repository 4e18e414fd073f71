"""From nothing to ready: start the engine, warm it up, compare it with the checkpoint's own scores.

The golden items of a critique model carry the score that the trainer computed with transformers; a
judge alone, whose scores are in its text, has none. They are read in mode `given` (picture, prompt,
response and critique in, score out), which warms up the picture path and proves the numbers in one
go. Where they differ by more than the tolerance, nothing is served: a wrong reward is worse than
none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from PIL import Image

from mmreward_service.engine.protocol import (
    CritiqueJob,
    Engine,
    EngineDead,
    Media,
    Reading,
    ReadJob,
)
from mmreward_service.engine_watch import EngineWatch
from mmreward_service.errors import EngineStalled, EngineStopped, NotReady, boundary
from mmreward_service.images import ImageLimits, decode, read_payload
from mmreward_service.logs import line
from mmreward_service.metrics import Metrics
from mmreward_service.reward.spec import GoldenItem

log = logging.getLogger(__name__)

FULL_PRECISION_TOLERANCE = 1e-3
HALF_PRECISION_TOLERANCE = 0.1
"""Well above what was measured between transformers and vLLM: 1e-5 in float32, 2e-2 in 16 bits."""

_GOLDEN_LIMITS = ImageLimits(max_bytes=1 << 26, max_pixels=1 << 26)


class StartFailed(Exception):
    """The engine could not be started."""


class Readiness:
    """Whether scores can be had, and if not, why not."""

    def __init__(
        self,
        metrics: Metrics,
        watch: EngineWatch,
        *,
        retry_after_s: int,
        tolerance: float | None,
        stall_after_s: float,
    ) -> None:
        self._metrics = metrics
        self._watch = watch
        self._retry_after_s = retry_after_s
        self._tolerance = tolerance
        self._stall_after_s = stall_after_s
        self.is_loading = True
        self.reason: str | None = "the model is being loaded"
        self.refuses_scores = True
        self.parity_error: float | None = None
        self.failure: StartFailed | None = None
        self.engine_stopped = False

    async def start(self, engine: Engine, on_failure: Callable[[], None] | None) -> None:
        """Run the whole start. Its failure is kept, logged, and told to `on_failure`."""
        try:
            with boundary(lambda error: StartFailed(f"{type(error).__name__}: {error}")):
                await engine.start()
                self.is_loading = False
                self._metrics.create_model(engine.model_name, engine.spec.kinds, engine.provenance)
                self.reason = "the model is warming up"
                await self._warm_up(engine)
                await self._check_parity(engine)
                self._watch.answered()
        except StartFailed as error:
            self.failure = error
            self.reason = f"the start has failed: {error}"
            log.error(line("start_failed", error=str(error)), exc_info=error.__cause__)
            if on_failure is not None:
                on_failure()
            return
        log.info(
            line(
                "started",
                model=engine.model_name,
                ready=self.reason is None,
                reason=self.reason,
                parity_error=self.parity_error,
                fingerprint=engine.provenance["fingerprint"],
            )
        )

    def raise_if_scores_are_refused(self) -> None:
        if self.refuses_scores:
            raise NotReady(self.reason or "not ready", retry_after_s=self._retry_after_s)

    async def raise_if_not_ready(self, engine: Engine) -> None:
        if self.reason is not None:
            raise NotReady(self.reason, retry_after_s=self._retry_after_s)
        try:
            await engine.check()
        except EngineDead as error:
            self.engine_stopped = True
            raise EngineStopped(str(error), retry_after_s=self._retry_after_s) from error
        self.engine_stopped = False
        if self._is_stalled:
            raise EngineStalled(
                f"the engine has questions and has done nothing for {self._watch.silence_s:.0f} s, "
                f"stall_after_s is {self._stall_after_s:g}",
                retry_after_s=self._retry_after_s,
            )

    @property
    def is_ready(self) -> bool:
        """What the last probe would say, without asking the engine."""
        return self.reason is None and not self.engine_stopped and not self._is_stalled

    @property
    def _is_stalled(self) -> bool:
        return self._watch.silence_s > self._stall_after_s

    async def _warm_up(self, engine: Engine) -> None:
        """A few tokens, so that the first caller does not pay for what is compiled late."""
        question, media = (
            "What is this?",
            Media((Image.new("RGB", (64, 64), "grey"),), ("warm-up",)),
        )
        if "critique" in engine.spec.kinds:
            ids = engine.renderer.render(prompt=question, response="Grey.", images=1)
            await engine.critique(CritiqueJob(ids, media, max_tokens=4))
        else:
            ids = engine.renderer.render_judge(
                prompt=question, first="Grey.", second="Red.", images=1
            )
            await engine.write(CritiqueJob(ids, media, max_tokens=4))

    async def _check_parity(self, engine: Engine) -> None:
        golden = engine.spec.golden
        readings = [await _read(engine, item) for item in golden]
        unreadable = [i for i, reading in enumerate(readings) if reading.score is None]
        differences = [
            abs(reading.score - item.score)
            for reading, item in zip(readings, golden, strict=True)
            if reading.score is not None
        ]
        if differences:
            self.parity_error = max(differences)
            self._metrics.saturation.parity_error.set(self.parity_error)
        tolerance = self._tolerance or _default_tolerance(engine)
        if self.parity_error is not None and self.parity_error > tolerance:
            self.reason = (
                f"golden scores differ by {self.parity_error:.3g}, the tolerance is {tolerance:.3g}"
            )
            return
        # An item without a score says so by itself; a number would be no worse for being asked.
        self.refuses_scores = False
        self.reason = None
        if unreadable:
            first = readings[unreadable[0]]
            self.reason = f"golden item {unreadable[0]} has no score: {first.status}"


async def _read(engine: Engine, item: GoldenItem) -> Reading:
    payload = read_payload(item.image, _GOLDEN_LIMITS)
    ids = engine.renderer.render(
        prompt=item.prompt, response=item.response, images=1, mode="given", critique=item.critique
    )
    media = Media((decode(payload),), (payload.sha256,))
    return (await engine.read(ReadJob(ids, media))).readings[0]


def _default_tolerance(engine: Engine) -> float:
    if engine.provenance.get("dtype") == "float32":
        return FULL_PRECISION_TOLERANCE
    return HALF_PRECISION_TOLERANCE
