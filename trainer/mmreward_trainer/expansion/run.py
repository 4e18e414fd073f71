"""One run, step by step: estimate, example, sending, writing, and the record beside the file."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmreward_client.file_replacement import replace_file

from mmreward_trainer.expansion.endpoint import Endpoint, Patience
from mmreward_trainer.expansion.estimate import Estimate, Selection
from mmreward_trainer.expansion.journal import Journal
from mmreward_trainer.expansion.progress import sending_progress
from mmreward_trainer.expansion.sending import Sender, Sent, open_requests
from mmreward_trainer.expansion.settings import Settings
from mmreward_trainer.expansion.source import Source
from mmreward_trainer.expansion.writing import OnFailure, Writer, Written


@dataclass(frozen=True)
class Run:
    """All of a run but its journal and its key.

    Attributes:
        stop_after: so many requests in a row without an answer end the sending.
    """

    source: Source
    settings: Settings
    selection: Selection
    output: Path
    on_failure: OnFailure
    patience: Patience
    concurrency: int
    stop_after: int

    @property
    def record_path(self) -> Path:
        return self.output.with_name(self.output.name + ".run.json")

    def send(self, journal: Journal, total: int, api_key: str | None, sent: Sent) -> None:
        """Ask for everything that is open; `sent` is kept up to date, also where this raises.

        Raises:
            EndpointError, Interrupted, InvalidInput, OSError: as `Sender.send`.
        """

        async def ask() -> None:
            with sending_progress(total) as on_reply:
                async with Endpoint(self.settings.base_url, api_key, self.patience) as endpoint:
                    await Sender(
                        self.settings,
                        endpoint,
                        journal,
                        self.concurrency,
                        self.stop_after,
                        on_reply,
                        sent,
                    ).send(open_requests(self.source, self.settings, journal, self.selection))

        asyncio.run(ask())

    def write(self, journal: Journal, *, is_complete: bool) -> Written:
        """Write the pairs file, or its finished rows.

        Raises:
            FailedExpansions, InvalidInput, OSError: as `Writer.write`.
        """
        writer = Writer(self.source, self.settings, journal, self.on_failure)
        return writer.write(self.output, is_complete=is_complete)

    def record(
        self,
        found: Estimate,
        journal: Journal,
        sent: Sent | None = None,
        done: Written | None = None,
    ) -> None:
        """Write what was asked for, and later what came of it, beside the file.

        Raises:
            OSError: it cannot be written.
        """
        text = json.dumps(self._resolved(found, journal, sent, done), indent=2, ensure_ascii=False)
        replace_file(self.record_path, text + "\n")

    def _resolved(
        self, found: Estimate, journal: Journal, sent: Sent | None, done: Written | None
    ) -> dict[str, Any]:
        source = self.source
        root = source.image_root
        return {
            "input": {
                "path": str(source.path),
                "form": source.form,
                "split": source.split,
                "columns": None if source.columns is None else asdict(source.columns),
                "image_root": None if root is None else str(root.resolve()),
                "bad_rows": source.options.bad_rows,
                "missing_images": source.options.missing_images,
                "max_frames": source.options.max_frames,
            },
            "settings": self.settings.resolved(),
            "selection": asdict(self.selection),
            "patience": asdict(self.patience),
            "concurrency": self.concurrency,
            "stop_after": self.stop_after,
            "on_failure": self.on_failure,
            "output": str(self.output),
            "journal": str(journal.path),
            "versions": {name: version(name) for name in ("mmreward", "openai")},
            "estimate": found.resolved(),
            "sent": None if sent is None else sent.resolved(),
            "written": None if done is None else done.resolved(),
        }
