"""A reply that arrives item by item (NDJSON): reading its lines, and checking that all came.

Each line with an `index` is one finished item; the last line is the rest of the reply. Items
arrive in the order of finishing, so every index must come exactly once before that last line, or
the stream was cut. A line with `error` and no index ends the stream: the request as a whole failed.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, Generic, Self

from mmreward_client.errors import ProtocolError, error_class_of_type
from mmreward_client.exchange import Call, ReplyT, ResultT, check_pin, checked, parse_model
from mmreward_client.schema import ErrorReply

NDJSON = "application/x-ndjson"


class StreamReader(Generic[ReplyT, ResultT]):
    """The lines of one streamed reply, in whatever order the items finish."""

    def __init__(self, call: Call[ReplyT, ResultT]) -> None:
        self._call = call
        self._results: dict[int, ResultT] = {}
        self.reply: ReplyT | None = None

    def feed(self, line: bytes) -> ResultT | None:
        """The item on this line; None for an empty line (keep-alive) and for the last one.

        Raises:
            ProtocolError: an index twice or out of range, a line after the last one, a result
                that does not fit its item.
            ApiError: the service gave the request up midway.
        """
        if not line.strip():
            return None
        try:
            raw = json.loads(line)
        except ValueError as error:
            raise ProtocolError(f"a line of the stream is not JSON: {line[:80]!r}") from error
        if not isinstance(raw, dict) or self.reply is not None:
            raise ProtocolError(f"unexpected line in the stream: {line[:80]!r}")
        if "index" not in raw:
            self._finish(raw, line)
            return None
        result: ResultT = parse_model(self._call.result_kind, line)
        if not 0 <= result.index < len(self._call.ids) or result.index in self._results:
            raise ProtocolError(f"the stream holds index {result.index} twice or out of range")
        result = checked(self._call, result)
        self._results[result.index] = result
        return result

    def finish(self) -> ReplyT:
        """The whole reply in request order, once the stream has ended."""
        if self.reply is None:
            raise ProtocolError("the stream ended before its last line")
        return self.reply

    def _finish(self, raw: dict[str, Any], line: bytes) -> None:
        if raw.get("error") is not None:
            failed = parse_model(ErrorReply, line)
            raise error_class_of_type(failed.error.type)(
                failed.error.message,
                code=failed.error.code or failed.error.type,
                param=failed.error.param,
                request_id=failed.request_id,
            )
        missing = [i for i in range(len(self._call.ids)) if i not in self._results]
        if missing:
            raise ProtocolError(f"the stream ended without the items {missing[:10]}")
        data = [self._results[i].model_dump() for i in range(len(self._call.ids))]
        content = json.dumps({**raw, "data": data}).encode()
        reply = parse_model(self._call.reply_kind, content)
        check_pin(self._call, reply)
        self.reply = reply


class Lines:
    """Bytes to lines, at newlines only: text may hold U+2028 and other things `splitlines` cuts."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The lines completed by this chunk."""
        if b"\n" not in chunk:
            self._rest += chunk
            return []
        *lines, rest = (self._rest + chunk).split(b"\n")
        self._rest = rest
        return lines

    def close(self) -> bytes:
        """What came after the last newline."""
        rest, self._rest = self._rest, b""
        return rest


class ResultStream(Generic[ReplyT, ResultT], Iterator[ResultT]):
    """Results in order of finishing. After the last one, `reply` is the whole reply in order.

    Leaving it early (`close`, or the end of a `with` block) hangs up, and the service aborts
    what is still under way.
    """

    def __init__(
        self, reader: StreamReader[ReplyT, ResultT], results: Generator[ResultT, None, None]
    ) -> None:
        self._reader = reader
        self._results = results

    @property
    def reply(self) -> ReplyT | None:
        return self._reader.reply

    def __next__(self) -> ResultT:
        return next(self._results)

    def close(self) -> None:
        self._results.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class AsyncResultStream(Generic[ReplyT, ResultT], AsyncIterator[ResultT]):
    """`ResultStream` for an event loop."""

    def __init__(
        self, reader: StreamReader[ReplyT, ResultT], results: AsyncGenerator[ResultT, None]
    ) -> None:
        self._reader = reader
        self._results = results

    @property
    def reply(self) -> ReplyT | None:
        return self._reader.reply

    async def __anext__(self) -> ResultT:
        return await anext(self._results)

    async def aclose(self) -> None:
        await self._results.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()
