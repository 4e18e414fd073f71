"""Pictures, apps and real sockets for the tests of the service."""

from service_kit.apps import KEY, listening, serving
from service_kit.pictures import encode, picture, picture_bytes, picture_uri

__all__ = [
    "KEY",
    "encode",
    "listening",
    "picture",
    "picture_bytes",
    "picture_uri",
    "serving",
]
