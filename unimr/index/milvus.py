"""The import of pymilvus, which must leave the logging of this program alone."""

from __future__ import annotations

import logging.config
import sys
import threading

_LOCK = threading.Lock()


def import_pymilvus() -> None:
    """Import pymilvus without the configuration that it gives to `logging`; call it before any other import of it.

    `logging.config.dictConfig` closes every handler there is, and flushes them under the lock of `logging`. In a flow
    run of Prefect, whose handlers hand their lines to a thread that wants this lock too, both wait for ever.
    """
    with _LOCK:
        if "pymilvus" in sys.modules:
            return
        configure = logging.config.dictConfig
        logging.config.dictConfig = lambda config: None  # noqa: ARG005
        try:
            import pymilvus  # noqa: F401
        finally:
            logging.config.dictConfig = configure
