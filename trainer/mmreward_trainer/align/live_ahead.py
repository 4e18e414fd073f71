"""Margins of coming batches, asked for while the current step computes.

The Trainer takes the batches of a step (of all its accumulated passes) from an iterator over the
data loader, in the training process, whatever workers have prepared them. `LookAhead` stands
between the two: it holds some batches back, asks about each of them when it comes in, and hands a
batch out with its margins, which by then have had the time of several steps to arrive.

Why there, and not in the data loader's workers or its sampler: it works without workers and with
any number of them, with data sets that are streamed or whose rows are made when they are read (they
are read once), with rows that are skipped after resuming (they never come in), and each process
sees its own rows only. The price is memory: `look_ahead` collated batches, on the host. They go to
the device one by one, as the Trainer does with any batch.

Held-out pairs are asked for batch by batch when they are needed: accelerate recognises the last
batch of an evaluation by what the loader has handed out, so that none may be held back. Their
margins are kept for the next evaluation.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from mmreward_client.file_replacement import replace_file
from transformers import TrainerCallback, TrainingArguments

from mmreward_trainer.align.collating import ASKED, MARGINS, Batch
from mmreward_trainer.align.live_margins import MarginServiceError, Pending, ServiceMargins
from mmreward_trainer.align.margins import Margin
from mmreward_trainer.align.service_events import of_process

MODEL_FILE = "margin-model.json"


class LookAhead(Iterator[Batch]):
    """Batches with their margins, `look_ahead` of them held back.

    Args:
        batches: as the data loader hands them out.
        begin: asks about a batch.
        end: waits for what was asked, and adds it.
    """

    def __init__(
        self,
        batches: Iterator[Batch],
        look_ahead: int,
        begin: Callable[[Batch], Pending],
        end: Callable[[Batch, Pending], Batch],
    ) -> None:
        self.batches = batches
        self._look_ahead = look_ahead
        self._begin = begin
        self._end = end
        self._held: deque[tuple[Batch, Pending]] = deque()

    def __next__(self) -> Batch:
        while len(self._held) <= self._look_ahead:
            try:
                batch = next(self.batches)
            except StopIteration:
                break
            self._held.append((batch, self._begin(batch)))
        if not self._held:
            raise StopIteration
        return self._end(*self._held.popleft())


class LiveMargins:
    """The margins of one trainer.

    Attributes:
        waited_s: what batches were waited for since it was last set to 0.
    """

    def __init__(self, source: ServiceMargins, args: TrainingArguments) -> None:
        options = source.options
        if args.basis != options.basis:
            raise ValueError(
                f"basis {args.basis} of the configuration, {options.basis} of margin_source"
            )
        if args.beta_rule != "paper":
            raise ValueError(f"the beta_rule {args.beta_rule} reads no δ: leave margin_source out")
        longest_s = options.longest_wait_s(args.gradient_accumulation_steps)
        if args.world_size > 1 and longest_s >= args.ddp_timeout:
            raise ValueError(
                f"a step may wait {longest_s:g} s for its margins (timeout_s {options.timeout_s:g}"
                f", {args.gradient_accumulation_steps} batches, concurrency {options.concurrency}, "
                f"look_ahead {options.look_ahead}), "
                f"which is not smaller than ddp_timeout {args.ddp_timeout}: the other processes "
                "would give up first"
            )
        self.source = source
        self.waited_s = 0.0
        self._args = args
        self._ahead: LookAhead | None = None

    def ahead(self, batches: Iterator[Batch]) -> LookAhead:
        """The same batches with their margins; one object for one iterator."""
        if self._ahead is None or self._ahead.batches is not batches:
            look_ahead = self.source.options.look_ahead
            self._ahead = LookAhead(batches, look_ahead, self._begin, self._end)
        return self._ahead

    def completed(self, batch: Batch) -> Batch:
        """A batch that nobody asked about yet, with its margins."""
        if self.source.fingerprint is None:
            self.agree(resumed=False, begins=False)
        return self._end(batch, self._begin(batch))

    def summary(self) -> dict[str, Any]:
        """What a run says of its margins in the end, of this process."""
        return {
            "fingerprint": self.source.fingerprint,
            "pairs_asked": self.source.asked,
            "events": dict(self.source.events.tally.counts),
        }

    def stop(self) -> None:
        """Let go of what was asked ahead: the training has ended."""
        self._ahead = None
        self.source.close()

    def agree(self, *, resumed: bool, begins: bool = True) -> None:
        """Settle which model all margins come from, for all processes, before the first of them.

        Each process alone would take whatever answers it first, and two replicas may differ.

        Args:
            begins: a training does; of pairs that are validated before it, no account is kept.

        Raises:
            MarginServiceError: the service does not say; or the run was begun with another model.
        """
        folder = Path(self._args.output_dir)
        found: list[Any] = [None, None]
        if self._args.process_index == 0:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                found[0] = self._model(folder / MODEL_FILE, resumed, begins)
            except MarginServiceError as error:
                found[1] = str(error)
        if self._args.world_size > 1:
            broadcast_object_list(found)
        if found[1] is not None:
            raise MarginServiceError(found[1])
        self.source.fingerprint = found[0]
        folder.mkdir(parents=True, exist_ok=True)
        self.source.events.path = folder / of_process(self._args.process_index)
        self.source.events.write(
            "Began", fingerprint=found[0], urls=list(self.source.options.urls), resumed=resumed
        )

    def _model(self, file: Path, resumed: bool, begins: bool) -> str:
        known = self.source.fingerprint
        if resumed and file.is_file():
            begun = str(json.loads(file.read_text(encoding="utf-8"))["fingerprint"])
            if known not in (None, begun):
                raise MarginServiceError(
                    f"the run was begun with margins of the model {begun}, not of {known}"
                )
            return begun
        found = self.source.model_now() if known is None else known
        if begins:
            replace_file(file, json.dumps({"fingerprint": found}) + "\n")
        return found

    def _begin(self, batch: Batch) -> Pending:
        return self.source.begin(batch[ASKED])

    def _end(self, batch: Batch, pending: Pending) -> Batch:
        begun = time.monotonic()
        margins: list[Margin] = self.source.margins_of(pending)
        self.waited_s += time.monotonic() - begun
        rest = {name: value for name, value in batch.items() if name != ASKED}
        return {**rest, MARGINS: margins}


class LiveCallback(TrainerCallback):  # type: ignore[misc]
    """Before the first step the model is agreed on; after the last nothing is asked any more."""

    def __init__(self, live: LiveMargins) -> None:
        self._live = live

    def on_train_begin(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._live.agree(resumed=state.global_step > 0)

    def on_train_end(self, args: Any, state: Any, control: Any, **named: Any) -> None:
        self._live.stop()
