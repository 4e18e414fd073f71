"""`LocalService`: a scoring service on a real socket, for the tests of others."""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from pydantic import ValidationError

from mmreward_client.schema import (
    API_VERSION,
    GroupsRequest,
    Limits,
    ModelCard,
    PairsRequest,
    Provenance,
    ScoreRequest,
    describe,
)
from mmreward_client.stream import NDJSON
from mmreward_client.testing.answers import Answers, ComputedAnswers
from mmreward_client.testing.faults import Fault, FaultPlan
from mmreward_client.testing.record import Asked
from mmreward_client.testing.replies import AnyRequest, Replier, Result
from mmreward_client.testing.spoiling import disorder, error_response, instead, sent
from mmreward_client.testing.wire import Request, Response, Wire

_SCORING: dict[str, type[AnyRequest]] = {
    "/v1/score": ScoreRequest,
    "/v1/pairs": PairsRequest,
    "/v1/groups": GroupsRequest,
}
_LIMITS = Limits(
    max_items=1024,
    max_critiques=64,
    max_in_flight=4096,
    max_body_bytes=2**30,
    max_image_bytes=2**24,
    max_image_pixels=25_000_000,
    max_images_per_item=64,
    max_frames_per_item=256,
    max_critique_tokens=1024,
    max_model_len=32_768,
)


class LocalService:
    """Serves from `with` on, or from `start` to `stop`, on a free port of 127.0.0.1.

    Args:
        answers: what responses are worth: `ComputedAnswers(seed)` by default, `RecordedAnswers`, or
            any function from a `Side` to a `Scored`.
        faults: a `FaultPlan`, or a script of faults for the first requests (None: a good answer).
        fingerprint: of the model it pretends to be.
        api_key: asked for on the scoring routes if given.
        latency_s: before every answer of a scoring route.
        is_calibrated: whether pairs have `prob` and `delta_calibrated`.

    Attributes:
        asked: the requests of the scoring routes, in order of arrival.
        injected: what went wrong on purpose, by kind.
        most_in_flight: the most scoring requests that were under way together.
        fingerprint: may be set while it serves: the model is then another one.
        kinds: what the model says that it is; may be set.
        is_ready: may be set: false is a 503 on `/ready` and on the scoring routes.
    """

    def __init__(
        self,
        answers: Answers | None = None,
        *,
        faults: FaultPlan | Iterable[Fault | None] = (),
        fingerprint: str = "local-service",
        model: str = "local",
        api_key: str | None = None,
        latency_s: float = 0.0,
        is_calibrated: bool = True,
    ) -> None:
        self.fingerprint = fingerprint
        self.model = model
        self.is_ready = True
        self.kinds = ["critique", "judge"]
        self.asked: list[Asked] = []
        self.injected: Counter[str] = Counter()
        self.most_in_flight = 0
        self._plan = faults if isinstance(faults, FaultPlan) else FaultPlan(faults)
        self._replier = Replier(answers or ComputedAnswers(), is_calibrated)
        self._api_key = api_key
        self._latency_s = latency_s
        self._in_flight = 0
        self._lock = threading.Lock()
        self._wire = Wire(self._answer)

    @property
    def url(self) -> str:
        """Its address; known once it has been started, and kept over a stop."""
        return f"http://127.0.0.1:{self._wire.port}"

    @property
    def in_flight(self) -> int:
        """Scoring requests under way."""
        return self._in_flight

    def script(self, *faults: Fault | None) -> None:
        """What goes wrong with the next scoring requests, behind what is planned already."""
        with self._lock:
            self._plan.add(*faults)

    def start(self) -> Self:
        """Serve; after a stop on the same port again."""
        self._wire.start()
        return self

    def stop(self) -> None:
        """Close the port and all connections, as a process that was killed."""
        self._wire.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @contextlib.contextmanager
    def _answer(self, request: Request) -> Iterator[Response]:
        kind = _SCORING.get(request.path)
        if kind is None or request.method != "POST":
            yield self._about_itself(request)
            return
        with self._arrived(request) as asked:
            body = _read(request, kind, asked)
            response = self._refused(request, body, asked)
            if response is None:
                assert not isinstance(body, Response)
                response = self._scored(body, asked)
            asked.status = None if response.send_bytes == 0 else response.status
            yield response

    @contextlib.contextmanager
    def _arrived(self, request: Request) -> Iterator[Asked]:
        with self._lock:
            asked = Asked(
                len(self.asked),
                request.path,
                request.headers.get("x-request-id"),
                streamed=NDJSON in request.headers.get("accept", ""),
            )
            self.asked.append(asked)
            self._in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            if self._latency_s:
                time.sleep(self._latency_s)
            yield asked
        finally:
            with self._lock:
                self._in_flight -= 1
            asked.seconds = time.monotonic() - asked.begun_s

    def _refused(
        self, request: Request, body: AnyRequest | Response, asked: Asked
    ) -> Response | None:
        """What is sent instead of scores: for a reason of its own, or else by a planned fault.

        A request that is refused anyway uses no fault up, so that each one counted was sent.
        """
        refused = self._refused_anyway(request, body, asked)
        if refused is not None:
            return refused
        with self._lock:
            asked.fault = self._plan.of_request(asked.number)
            if asked.fault is not None:
                self.injected[asked.fault.kind] += 1
        return instead(asked.fault, asked.request_id)

    def _refused_anyway(
        self, request: Request, body: AnyRequest | Response, asked: Asked
    ) -> Response | None:
        if self._api_key is not None:
            given = request.headers.get("authorization", "")
            if given != f"Bearer {self._api_key}":
                return error_response(401, "authentication", "no or wrong key")
        if not self.is_ready:
            return instead(Fault("not_ready"), asked.request_id)
        if isinstance(body, Response):
            return body
        if body.model not in (None, self.model):
            return error_response(404, "not_found", "no such model", code="unknown_model")
        if body.pin not in (None, self.fingerprint):
            said = f"pinned to {body.pin}, this is {self.fingerprint}"
            return error_response(409, "pin_mismatch", said, request_id=asked.request_id)
        return None

    def _scored(self, body: AnyRequest, asked: Asked) -> Response:
        data = self._replier.data(body, self._nulls(asked, len(body.items)))
        asked.nulls = sum(result.status != "ok" for result in data)
        return sent(asked.fault, 200, self._written(data, asked))

    def _nulls(self, asked: Asked, count: int) -> Any:
        fault = asked.fault
        if fault is None or fault.kind != "null":
            return lambda index: None
        draw = self._plan.draw(asked.number)
        is_null = [fault.share >= 1 or draw.random() < fault.share for _ in range(count)]
        return lambda index: fault.status if is_null[index] else None

    def _written(self, data: list[Result], asked: Asked) -> tuple[bytes, ...]:
        fault = asked.fault
        is_other = fault is not None and fault.kind == "other_model"
        fingerprint = f"{self.fingerprint} exchanged" if is_other else self.fingerprint
        entries = disorder(fault, [result.model_dump(mode="json") for result in data])
        rest: dict[str, Any] = {
            "object": "list",
            "id": uuid.uuid4().hex,
            "model": self.model,
            "provenance": {"fingerprint": fingerprint},
            "usage": {"prompt_tokens": 10 * len(data), "completion_tokens": 10 * len(data)},
            "timings": {"total_s": time.monotonic() - asked.begun_s},
        }
        if not asked.streamed:
            return (json.dumps({**rest, "data": entries}).encode(),)
        return tuple(json.dumps(line).encode() + b"\n" for line in (*entries, rest))

    def _about_itself(self, request: Request) -> Response:
        if request.path == "/ready" and not self.is_ready:
            return instead(Fault("not_ready"), None) or _json({})
        bodies: dict[str, Any] = {
            "/health": {"status": "alive"},
            "/ready": {"status": "ready"},
            "/version": {"version": "testing", "api_version": API_VERSION},
            "/v1/models": {"object": "list", "data": [self._card()]},
        }
        if request.method != "GET" or request.path not in bodies:
            return error_response(404, "not_found", f"no route {request.path}")
        return _json(bodies[request.path])

    def _card(self) -> dict[str, Any]:
        card = ModelCard(
            id=self.model,
            created=0,
            kinds=self.kinds,
            modes=["generate", "given", "none"],
            read_out="last_critique_token",
            calibration=self._calibration(),
            provenance=Provenance(fingerprint=self.fingerprint),
            limits=_LIMITS,
        )
        return card.model_dump(mode="json")

    def _calibration(self) -> list[dict[str, Any]]:
        if not self._replier.is_calibrated:
            return []
        same = {"method": "temperature", "temperature": 1.0, "interval_95": [1.0, 1.0]}
        modes = ("generate", "given", "none")
        return [{"mode": mode, "critiques": 1, **same, "errors": 1, "pairs": 2} for mode in modes]


def _read(request: Request, kind: type[AnyRequest], asked: Asked) -> AnyRequest | Response:
    """The body, noted down also where it is refused for another reason."""
    try:
        body = kind.model_validate_json(request.body)
    except ValidationError as error:
        is_json = not any(one["type"] == "json_invalid" for one in error.errors())
        return error_response(422 if is_json else 400, "invalid_request", describe(error)[:500])
    asked.items = list(body.items)
    asked.options = body.model_dump(exclude={"items", "media"})
    return body


def _json(body: Any) -> Response:
    return Response(200, (json.dumps(body).encode(),), {"Content-Type": "application/json"})
