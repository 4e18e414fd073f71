"""A scripted server, and both clients behind one face, for the tests of the client."""

from client_kit.faces import clients
from client_kit.scripted import (
    FINGERPRINT,
    Reply,
    ScriptedServer,
    envelope,
    good_reply,
    score_entry,
)

__all__ = [
    "FINGERPRINT",
    "Reply",
    "ScriptedServer",
    "clients",
    "envelope",
    "good_reply",
    "score_entry",
]
