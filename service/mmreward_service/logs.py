"""Log lines of key=value pairs. Never a body, a prompt, a picture or a key: callers pass facts."""

from __future__ import annotations

import logging
import re
import sys
import time

_BARE = re.compile(r"[\w.,:;/@%+*<>()\[\]-]+")


def line(event: str, **fields: object) -> str:
    """`event=... key=value ...`; values with blanks or control characters are quoted."""
    pairs = [("event", event), *fields.items()]
    return " ".join(f"{key}={_quote(value)}" for key, value in pairs if value is not None)


def _quote(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    if _BARE.fullmatch(text):
        return text
    return '"' + text.encode("unicode_escape").decode("ascii").replace('"', '\\"') + '"'


class KeyValueFormatter(logging.Formatter):
    """Puts time, level and logger before a line; foreign messages become `message="..."`."""

    def format(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if not message.startswith("event="):
            message = f"message={_quote(message)}"
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        stamp += f".{int(record.msecs):03d}Z"
        text = f"time={stamp} level={record.levelname.lower()} logger={record.name} {message}"
        if record.exc_info:
            text += "\n" + self.formatException(record.exc_info)
        return text


def configure(level: str) -> None:
    """Send this package's and uvicorn's lines to standard error, in one format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValueFormatter())
    for name in ("mmreward_service", "uvicorn", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers = [handler] if name != "uvicorn.error" else []
        logger.propagate = name == "uvicorn.error"
        logger.setLevel(level.upper())
