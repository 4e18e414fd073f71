"""Every reply on disk as soon as it is there: what a run resumes from and its file is made of.

    {"key": "...", "status": "ok", "text": "...", "reason": null, "http_status": null,
     "prompt_tokens": 212, "completion_tokens": 97, "model": "...", "retries": 0,
     "max_completion_tokens": 1024, "place": "pairs.jsonl:7 chosen", "settings_sha256": "..."}

The file only grows. A line is handed to the operating system before the next request begins, so a
kill of the process loses what was under way and nothing else; a loss of power may lose the last
seconds. The half line that a kill can leave is cut off when the file is opened again, and counted.
A later line of a key replaces an earlier one. Only places in the file are kept in memory.

One process writes a journal at a time; a lock that ends with the process sees to it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

from mmreward_client.data.source import json_object
from mmreward_client.errors import InvalidInput
from mmreward_client.evaluation.single_writer import lock

from mmreward_trainer.expansion.replies import ANSWERED, Reply, Status
from mmreward_trainer.expansion.requests import Request
from mmreward_trainer.expansion.settings import Settings


@dataclass(frozen=True)
class Entry:
    """What the journal knows of a request, without its text."""

    status: Status
    offset: int
    max_completion_tokens: int


class Journal:
    """The replies of a file, opened for adding to them; without `writable` only read.

    Attributes:
        cut_bytes: length of the half line that was found at the end.
        foreign: lines of other settings; they stay and are not used.

    Raises:
        OSError: the file cannot be read or written.
        InvalidInput: another process writes it, or a line of it is no reply.
    """

    def __init__(self, path: Path, settings: Settings, *, writable: bool = True) -> None:
        self.path = path
        self._settings = settings
        self.entries: dict[str, Entry] = {}
        self.foreign = 0
        self.cut_bytes = 0
        self._file: BinaryIO | None = None
        if not writable and not path.exists():
            return
        self._file = path.open("a+b" if writable else "rb")
        try:
            if writable:
                lock(self._file, path)
            self._read()
            if writable and self.cut_bytes:
                self._file.truncate(self._file.seek(0, os.SEEK_END) - self.cut_bytes)
        except BaseException:
            self._file.close()
            raise

    def add(self, request: Request, reply: Reply) -> None:
        """Write the reply; once this returns, a kill of this process does not lose it."""
        assert self._file is not None
        offset = self._file.seek(0, os.SEEK_END)
        line = json.dumps(_record(request, reply, self._settings)) + "\n"
        self._file.write(line.encode("ascii"))
        self._file.flush()
        bound = self._settings.max_completion_tokens
        self.entries[request.key] = Entry(reply.status, offset, bound)

    def is_open(self, key: str, *, ask_again: bool = False) -> bool:
        """Whether this request is still to be sent.

        Args:
            ask_again: also where the answer was a failure.
        """
        entry = self.entries.get(key)
        if entry is None or entry.status not in ANSWERED | {"ok"}:
            return True
        if entry.status == "truncated":
            raised = self._settings.max_completion_tokens > entry.max_completion_tokens
            return ask_again or raised
        return ask_again and entry.status != "ok"

    def text(self, key: str) -> str | None:
        """The expansion; None where there is none."""
        entry = self.entries.get(key)
        if entry is None or entry.status != "ok":
            return None
        assert self._file is not None
        self._file.seek(entry.offset)
        text = json.loads(self._file.readline())["text"]
        assert isinstance(text, str)
        return text

    def statuses(self) -> Counter[Status]:
        return Counter(entry.status for entry in self.entries.values())

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self) -> None:
        assert self._file is not None
        self._file.seek(0)
        offset = 0
        for number, line in enumerate(self._file, start=1):
            if not line.endswith(b"\n"):
                self.cut_bytes = len(line)
                return
            try:
                self._take(json_object(line), offset)
            except InvalidInput as error:
                raise InvalidInput(f"{self.path}:{number}: {error}") from None
            offset += len(line)

    def _take(self, record: dict[str, Any], offset: int) -> None:
        key: Any = record.get("key")
        status: Any = record.get("status")
        bound: Any = record.get("max_completion_tokens")
        is_text = isinstance(record.get("text"), str)
        if not isinstance(key, str) or status not in get_args(Status) or type(bound) is not int:
            raise InvalidInput("no reply of an expansion: name another journal")
        if is_text != (status == "ok"):
            raise InvalidInput(f"a reply with status {status} and {'a' if is_text else 'no'} text")
        if record.get("settings_sha256") != self._settings.sha256:
            self.foreign += 1
            return
        self.entries[key] = Entry(status, offset, bound)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _record(request: Request, reply: Reply, settings: Settings) -> dict[str, Any]:
    return {
        "key": request.key,
        "status": reply.status,
        "text": reply.text,
        "reason": reply.reason,
        "http_status": reply.http_status,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
        "model": reply.model,
        "retries": reply.retries,
        "max_completion_tokens": settings.max_completion_tokens,
        "place": f"{request.where} {request.side}",
        "settings_sha256": settings.sha256,
    }
