"""One vLLM engine that writes critiques and scores them in the same pass.

`critique` sends one request for K critiques; each comes back with a row per token that holds the
score read at that position, and the row of the step that emitted end-of-turn is the score (read-out
`last_critique_token`). For read-out `after_turn` a second request of one token continues the same
prefix, which vLLM's prefix cache has kept. `read` is that one-token request alone.

vLLM is imported when the engine starts, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client import REGISTRY

from mmreward_service.engine.protocol import (
    CritiqueJob,
    EngineDead,
    EngineError,
    ImageRefused,
    Media,
    Outcome,
    PromptTooLong,
    Reading,
    ReadJob,
    TokenUsage,
)
from mmreward_service.engine.vllm import fence
from mmreward_service.engine.vllm.arguments import engine_arguments, policy_warning
from mmreward_service.engine.vllm.environment import device_is_cpu, prepare_environment
from mmreward_service.engine.vllm.media import prompt_fields
from mmreward_service.engine.vllm.plugin import (
    ARCHITECTURES,
    WITHOUT_HEAD,
    register_class,
)
from mmreward_service.engine.vllm.provenance import describe_engine
from mmreward_service.engine.vllm.readings import Reader
from mmreward_service.engine.vllm.versions import version_warning, vllm_version
from mmreward_service.reward.checkpoint import read_config, weights_fingerprint
from mmreward_service.reward.judge_templates import stock_judge_spec
from mmreward_service.reward.prompt import PromptRenderer
from mmreward_service.reward.spec import RewardSpec, Templates

if TYPE_CHECKING:
    from vllm import RequestOutput, SamplingParams
    from vllm.v1.engine.async_llm import AsyncLLM

logger = logging.getLogger(__name__)

_GIB = 1 << 30
_ATTEMPTS = 3
_TOKENS = ("vllm:prompt_tokens_total", "vllm:generation_tokens_total")


class VllmEngine:
    """The Engine of `engine.protocol` on vLLM. One per process: vLLM's metrics are global.

    Args:
        checkpoint: folder of a reward model; nothing else is read.
        served_name: model name shown to clients; the folder's name if None.
        dtype: "auto", "float32" or "bfloat16".
        max_model_len: tokens of prompt and critique together; None takes the model's own.
        kv_cache_gib: memory for the KV cache; None takes vLLM's default (on a CPU: 1 GiB).
        max_num_seqs: critiques generated at once; None takes vLLM's default.
        enforce_eager: no compilation, no CUDA graphs; None means on a CPU only.
        max_images: pictures per item.
        engine_args: further arguments of vLLM's AsyncEngineArgs, checked by the fence.
        stock_judge: templates that make a judge of a stock model; None: the folder's own reward.
    Raises:
        CheckpointError: the folder is refused.
        FenceError: an argument would break the scores.
    """

    def __init__(
        self,
        checkpoint: Path,
        *,
        served_name: str | None = None,
        dtype: str = "auto",
        max_model_len: int | None = None,
        kv_cache_gib: float | None = None,
        max_num_seqs: int | None = None,
        enforce_eager: bool | None = None,
        max_images: int = 8,
        engine_args: dict[str, Any] | None = None,
        stock_judge: Templates | None = None,
    ) -> None:
        self._folder = Path(checkpoint).resolve()
        extra = dict(engine_args or {})
        fence.check_arguments(extra)
        self._spec, architecture = (
            fence.check_checkpoint(self._folder)
            if stock_judge is None
            else (stock_judge_spec(stock_judge), None)
        )
        names = read_config(self._folder).get("architectures") or [""]
        self._model_class = (
            WITHOUT_HEAD.get(str(names[0])) if architecture is None else ARCHITECTURES[architecture]
        )
        self._renderer = PromptRenderer.from_checkpoint(self._folder, self._spec)
        self._name = served_name or self._folder.name
        on_cpu = device_is_cpu()
        if enforce_eager is None:
            enforce_eager = bool(extra.get("enforce_eager", on_cpu))
        self._eager = enforce_eager
        self._arguments = engine_arguments(
            folder=self._folder,
            model_class=self._model_class,
            served_name=self._name,
            dtype=dtype,
            max_model_len=max_model_len,
            kv_cache_gib=kv_cache_gib,
            max_num_seqs=max_num_seqs,
            enforce_eager=enforce_eager,
            max_images=max_images,
            on_cpu=on_cpu,
            extra=extra,
        )
        self._reader = Reader(
            slot=self._spec.score_slot,
            end_of_turn_id=self._renderer.end_of_turn_id,
            decode=self._renderer.decode,
        )
        self._video_metadata = str(names[0]).startswith("Qwen")
        self._request_numbers = itertools.count()
        self._llm: AsyncLLM | None = None
        self._max_model_len = 0
        self._provenance: dict[str, Any] = {}

    @property
    def model_name(self) -> str:
        return self._name

    @property
    def spec(self) -> RewardSpec:
        return self._spec

    @property
    def renderer(self) -> PromptRenderer:
        return self._renderer

    @property
    def max_model_len(self) -> int:
        return self._max_model_len

    @property
    def provenance(self) -> dict[str, Any]:
        return self._provenance

    @property
    def tokens_done(self) -> float:
        """vLLM's own count, made at every step; only final outputs leave `generate`.

        It stands still where `engine_args` switch vLLM's statistics off.
        """
        counted = REGISTRY.restricted_registry(_TOKENS).collect()
        return sum(sample.value for metric in counted for sample in metric.samples)

    async def start(self) -> None:
        """Load the model. The event loop stays free, so that /health answers meanwhile."""
        if warning := version_warning(vllm_version()):
            logger.warning(warning)
        weights_sha256, _ = await asyncio.gather(
            asyncio.to_thread(weights_fingerprint, self._folder),
            asyncio.to_thread(self._build_and_keep),
        )
        config = self._running().vllm_config
        self._max_model_len = int(config.model_config.max_model_len)
        self._provenance = describe_engine(
            model_name=self._name,
            folder=self._folder,
            weights_sha256=weights_sha256,
            spec=self._spec,
            config=config,
            mm_processor_kwargs=self._arguments.get("mm_processor_kwargs"),
        )

    def _build_and_keep(self) -> None:
        # Returned to the loop instead, the engine would stay alive in a future of the thread
        # pool, and its destructor would run at the interpreter's exit.
        self._llm = self._build()

    def _build(self) -> AsyncLLM:
        prepare_environment(enforce_eager=self._eager)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(**self._arguments)
        # After vLLM has loaded its plug-ins, which name the classes by string.
        if self._model_class is not None:
            register_class(self._model_class)
        config = arguments.create_engine_config()
        fence.check_config(config, self._spec)
        if warning := policy_warning(config.scheduler_config.policy):
            logger.warning(warning)
        return AsyncLLM.from_vllm_config(config)

    async def close(self) -> None:
        llm, self._llm = self._llm, None
        if llm is not None:
            llm.shutdown()
            # Lets vLLM's output task see its cancellation before the loop closes.
            await asyncio.sleep(0)

    async def check(self) -> None:
        llm = self._running()
        with self._boundary():
            await llm.check_health()

    async def critique(self, job: CritiqueJob) -> Outcome:
        if self._spec.read_out == "after_turn":
            return await self.critique_then_read(job)
        output = await self._request(
            job.prompt_token_ids, job.media, self._writing(job, rows=True), job.priority
        )
        return Outcome([self._reader.critique(one) for one in output.outputs], _usage(output))

    async def critique_then_read(self, job: CritiqueJob) -> Outcome:
        """Write without score rows, then read each score by a request of one token."""
        output = await self._request(
            job.prompt_token_ids, job.media, self._writing(job, rows=False), job.priority
        )
        texts = [self._reader.text(one) for one in output.outputs]
        async with asyncio.TaskGroup() as group:
            reads = [
                group.create_task(self._read_after(job, list(one.token_ids[:-1])))
                if text.status == "ok"
                else None
                for text, one in zip(texts, output.outputs, strict=True)
            ]
        usage = _usage(output)
        readings = []
        for text, read in zip(texts, reads, strict=True):
            if read is None:
                readings.append(text)
                continue
            score, read_usage = read.result().readings[0], read.result().usage
            usage += read_usage
            readings.append(
                Reading(
                    status=score.status,
                    score=score.score,
                    text=text.text,
                    tokens=text.tokens,
                    finish_reason=text.finish_reason,
                    error=score.error,
                )
            )
        return Outcome(readings, usage)

    async def read(self, job: ReadJob) -> Outcome:
        output = await self._request(job.prompt_token_ids, job.media, self._reading(), job.priority)
        return Outcome([self._reader.score_only(one) for one in output.outputs], _usage(output))

    async def write(self, job: CritiqueJob) -> Outcome:
        output = await self._request(
            job.prompt_token_ids, job.media, self._writing(job, rows=False), job.priority
        )
        return Outcome([self._reader.text(one) for one in output.outputs], _usage(output))

    async def _read_after(self, job: CritiqueJob, critique_ids: list[int]) -> Outcome:
        ids = job.prompt_token_ids + critique_ids
        if self._spec.read_out == "after_turn":
            ids = ids + self._renderer.after_turn_ids
        return await self.read(ReadJob(ids, job.media, job.priority))

    def _writing(self, job: CritiqueJob, *, rows: bool) -> SamplingParams:
        return self._sampling(
            n=job.critiques,
            temperature=job.temperature,
            seed=job.seed,
            max_tokens=job.max_tokens,
            stop_token_ids=[self._renderer.end_of_turn_id],
            rows=rows,
        )

    def _reading(self) -> SamplingParams:
        return self._sampling(max_tokens=1, temperature=0.0, rows=True)

    def _sampling(self, *, rows: bool, **arguments: Any) -> SamplingParams:
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        if rows:
            arguments |= {"logprob_token_ids": [self._spec.score_slot], "flat_logprobs": True}
        params = SamplingParams(
            **arguments,
            # Text is decoded once, from the ids; per step it would double the cost of a token.
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
        )
        fence.check_sampling(params)
        return params

    async def _request(
        self,
        prompt_token_ids: list[int],
        media: Media,
        params: SamplingParams,
        priority: int = 0,
    ) -> RequestOutput:
        """Send one request and wait for its final output. Cancelling aborts it in the engine.

        An output that ends by "error" is vLLM's request to send it again: when a request is
        aborted on its way, vLLM's front takes its picture for delivered, and the next one with
        the same picture is sent without it.
        """
        for _ in range(_ATTEMPTS):
            final = await self._send(prompt_token_ids, media, params, priority)
            if all(one.finish_reason != "error" for one in final.outputs):
                break
        return final

    async def _send(
        self, prompt_token_ids: list[int], media: Media, params: SamplingParams, priority: int
    ) -> RequestOutput:
        llm = self._running()
        request_id = f"{self._name}-{next(self._request_numbers)}"
        engine_input = await self._prepare(llm, prompt_token_ids, media, params)
        final: RequestOutput | None = None
        with self._boundary():
            # generate() itself aborts the request when this coroutine is cancelled.
            async with contextlib.aclosing(
                llm.generate(engine_input, params, request_id, priority=priority)
            ) as outputs:
                async for output in outputs:
                    final = output
        if final is None or not final.finished:
            raise EngineError("the engine ended a request without an answer")
        return final

    async def _prepare(
        self, llm: AsyncLLM, prompt_token_ids: list[int], media: Media, params: SamplingParams
    ) -> Any:
        """Preprocess pictures and expand placeholders; the length is known only after that."""
        if len(prompt_token_ids) >= self._max_model_len:
            raise self._too_long(len(prompt_token_ids), 1)
        prompt: dict[str, Any] = {
            "prompt_token_ids": prompt_token_ids,
            **prompt_fields(media, video_metadata=self._video_metadata),
        }
        with _preprocessing(media):
            (engine_input,) = await llm.renderer.render_cmpl_async([prompt])
        length = len(engine_input["prompt_token_ids"])
        if length + (params.max_tokens or 1) > self._max_model_len:
            raise self._too_long(length, params.max_tokens or 1)
        return engine_input

    def _too_long(self, length: int, room: int) -> PromptTooLong:
        return PromptTooLong(
            f"{length} prompt tokens (pictures included) and room for {room} more exceed the "
            f"model's length of {self._max_model_len}"
        )

    def _running(self) -> AsyncLLM:
        if self._llm is None:
            raise EngineDead("the engine has not been started, or has been closed")
        return self._llm

    @contextlib.contextmanager
    def _boundary(self) -> Iterator[None]:
        """vLLM's exceptions become ours; nothing else passes through silently."""
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            yield
        except EngineDeadError as error:
            raise EngineDead("vLLM's engine process has died; see its log") from error
        except Exception as error:
            if self._llm is None or self._llm.errored:
                raise EngineDead(f"vLLM's engine has failed: {error}") from error
            raise EngineError(f"vLLM refused the request: {error}") from error


@contextlib.contextmanager
def _preprocessing(media: Media) -> Iterator[None]:
    """Whatever a processor raises about a picture concerns that picture alone."""
    try:
        yield
    except Exception as error:
        if media.images:
            raise ImageRefused(f"the model's processor refuses the picture: {error}") from error
        raise EngineError(f"vLLM refused the prompt: {error}") from error


def _usage(output: RequestOutput) -> TokenUsage:
    return TokenUsage(
        prompt_tokens=len(output.prompt_token_ids or ()),
        cached_tokens=output.num_cached_tokens or 0,
        completion_tokens=sum(len(one.token_ids) for one in output.outputs),
    )
