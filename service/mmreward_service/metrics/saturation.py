"""How full the service is and whether it can answer: gauges, read when the page is asked for."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge

from mmreward_service.admission import Admission
from mmreward_service.engine_watch import EngineWatch


class Saturation:
    def __init__(self, registry: CollectorRegistry, admission_limit: int) -> None:
        def gauge(name: str, meaning: str) -> Gauge:
            return Gauge(name, meaning, registry=registry)

        self._requests = gauge(
            "mmreward_requests_in_flight",
            "Scoring requests that were admitted and not yet answered.",
        )
        self._oldest = gauge(
            "mmreward_oldest_request_age_seconds",
            "Time since the oldest scoring request in flight was admitted, 0 without any.",
        )
        self._critiques = gauge(
            "mmreward_critiques_in_flight", "Critiques admitted and not yet finished."
        )
        self._waiting = gauge(
            "mmreward_critiques_waiting",
            "Critiques in flight that the engine has not been asked for yet.",
        )
        self._silence = gauge(
            "mmreward_engine_silence_seconds",
            "How long the engine has had questions without a sign of work, 0 while it has none.",
        )
        self._last_completion = gauge(
            "mmreward_last_completion_timestamp_seconds",
            "Unix time of the engine's last answer, the warm-up's at first, 0 before it.",
        )
        self._ready = gauge("mmreward_ready", "1 while scores can be had.")
        self.parity_error = gauge(
            "mmreward_parity_error",
            "Largest difference to the checkpoint's golden scores at start; NaN before the check.",
        )
        limit = gauge(
            "mmreward_admission_limit",
            "Critiques that may be in flight before requests are turned away.",
        )
        limit.set(admission_limit)
        self.parity_error.set(float("nan"))

    def follow(
        self, admission: Admission, watch: EngineWatch, is_ready: Callable[[], bool]
    ) -> None:
        """Read these from now on, whenever the page is asked for."""
        self._requests.set_function(lambda: admission.requests)
        self._oldest.set_function(lambda: admission.oldest_age_s)
        self._critiques.set_function(lambda: admission.in_flight)
        # An answer's permits are given back a moment after it has come.
        self._waiting.set_function(lambda: max(0, admission.in_flight - watch.critiques))
        self._silence.set_function(lambda: watch.silence_s)
        self._last_completion.set_function(lambda: watch.last_answer_unix_s)
        self._ready.set_function(lambda: float(is_ready()))
