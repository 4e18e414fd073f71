"""What the reward functions share: arguments, reading, calls, figures; see `rewards`."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from typing import Any

from mmreward_client import AsyncRewardClient
from mmreward_client.config import ClientOptions
from mmreward_client.events import Hook

from mmreward_trainer.align.grouped.calls import Caller, OnFailure, Tally
from mmreward_trainer.align.grouped.figures import Figures, Outcome
from mmreward_trainer.align.grouped.reading import Completion, Ending, read_completions

Log = Callable[[str, float], None]
Read = Callable[[], list[Completion]]


class ServiceReward:
    """What both reward functions share; TRL awaits the call.

    Args:
        url: base address of the service; `urls` in the options for several replicas.
        end_token_ids, max_completion_length: see `Ending`; one of them is needed.
        incomplete_reward: of a completion that was cut; None leaves it without one.
        on_failure, patience: what a failed call means, see `calls`.
        timeout_s: total time of a step's requests.
        max_in_flight: requests under way at once, of this process.
        prompt_column, answer_column: see `read_completions`.
        figures: how the completions are watched; None: `Figures()`.
        on_event: told what the client does, see `mmreward_client.events`.
        client: a client of the caller's own, instead of `url` and `options`; `on_event` is its own.
        options: of `AsyncRewardClient`. `pin` is "first" unless given: of several processes each
            learns for itself, so give them the fingerprint.

    Attributes:
        counts: what happened so far in this process: completions, nulls by reason, statuses.
        ending: may be set, as when the trainer knows more tokens that end a text.

    Raises:
        ValueError: an argument outside of its range.
    """

    __name__ = "service_reward"

    def __init__(
        self,
        url: str | None = None,
        *,
        end_token_ids: Collection[int] | None = None,
        max_completion_length: int | None = None,
        incomplete_reward: float | None = None,
        on_failure: OnFailure = "raise",
        patience: int = 3,
        timeout_s: float = 300.0,
        max_in_flight: int = 16,
        prompt_column: str | None = None,
        answer_column: str = "answer",
        figures: Figures | None = None,
        on_event: Hook | None = None,
        client: AsyncRewardClient | None = None,
        model: str | None = None,
        **options: Any,
    ) -> None:
        self.tally = Tally(on_event)
        if client is None:
            made: ClientOptions = {"pin": "first", "timeout_s": timeout_s, **options}  # type: ignore[typeddict-item]
            client = AsyncRewardClient(url, on_event=self.tally, **made)
        elif url is not None or options:
            raise ValueError("give a client, or url and options of one, not both")
        self._caller = Caller(
            client,
            timeout_s=timeout_s,
            max_in_flight=max_in_flight,
            on_failure=on_failure,
            patience=patience,
        )
        self.ending = Ending(end_token_ids, max_completion_length)
        self.figures = figures or Figures()
        self.counts: Counter[str] = Counter()
        self._incomplete_reward = incomplete_reward
        self._prompt_column = prompt_column
        self._answer_column = answer_column
        self._model = model

    @property
    def client(self) -> AsyncRewardClient:
        return self._caller.client

    async def __call__(
        self,
        prompts: Sequence[Any],
        completions: Sequence[Any],
        completion_ids: Sequence[Sequence[int]],
        *,
        log_metric: Log | None = None,
        trainer_state: Any = None,
        **columns: Any,
    ) -> list[float | None]:
        """One reward for each completion of this process, None where there is none.

        Raises:
            UnreadablePrompt: a prompt that the service cannot be asked about.
            SplitGroup: completions that are no whole groups.
            RewardError, ServiceGone, PeerFailed: no rewards could be had, see `calls`.
        """
        before, begun = Counter(self.tally.counts), time.monotonic()

        def read() -> list[Completion]:
            return read_completions(
                prompts,
                completions,
                completion_ids,
                columns,
                self.ending,
                prompt_column=self._prompt_column,
                answer_column=self._answer_column,
            )

        rows, outcomes, consistencies = await self._outcomes(read, len(prompts))
        self.counts["completions"] += len(rows)
        self.counts.update(f"null/{one.reason}" for one in outcomes if one.reward is None)
        if log_metric is not None:
            history = () if trainer_state is None else trainer_state.log_history
            values = self.figures.of(rows, outcomes, consistencies, history)
            happened = self.tally.counts - before
            values["service/seconds"] = time.monotonic() - begun
            values["service/retries"] = float(happened["RetryPlanned"])
            values["service/failed_calls"] = float(self._caller.failed)
            for name, value in values.items():
                log_metric(name if "/" in name else f"{self.__name__}/{name}", value)
        return [one.reward for one in outcomes]

    async def _outcomes(
        self, read: Read, count: int
    ) -> tuple[list[Completion], list[Outcome], list[float]]:
        """The completions, what each is worth, and order consistencies of groups."""
        raise NotImplementedError

    def _cut(self) -> Outcome:
        return Outcome(self._incomplete_reward, "incomplete")
