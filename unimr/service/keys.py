"""API keys: kept as SHA-256 only, read from a file or the environment; how often each may ask; who may go without.

A key is 32 random bytes, so that one round of SHA-256 is enough: there is nothing to guess. A line of the file, and
an entry of the variable `UNIMR_API_KEYS` (divided by commas), is `NAME SHA256`, as `unimr key NAME` prints it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
import time
from collections.abc import Mapping
from pathlib import Path

from unimr.errors import UnimrError

VARIABLE = "UNIMR_API_KEYS"
_LINE = re.compile(r"([A-Za-z0-9._-]{1,60})\s+([0-9a-f]{64})")


def make_key(name: str) -> tuple[str, str]:
    """A new key, and the line that lets it in.

    Raises:
        UnimrError: the name cannot stand in a line.
    """
    key = secrets.token_urlsafe(32)
    line = f"{name} {_digest(key)}"
    if not _LINE.fullmatch(line):
        raise UnimrError(f"A key is named by 1 to 60 letters, digits and . _ -; {name[:80]!r} is not.")
    return key, line


def read_keys(file: Path | None, environment: Mapping[str, str]) -> dict[str, str]:
    """SHA-256 of every key → its name.

    Raises:
        UnimrError: the file is missing, or a line of it or of the variable is none.
    """
    lines = [(f"the variable {VARIABLE}", entry) for entry in environment.get(VARIABLE, "").split(",")]
    if file is not None:
        try:
            content = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UnimrError(f"serve.keys_file: {file} cannot be read ({error}).") from error
        lines += [(f"{file}, line {number}", line) for number, line in enumerate(content.splitlines(), start=1)]
    keys = {}
    for place, line in lines:
        text = line.partition("#")[0].strip()
        if not text:
            continue
        found = _LINE.fullmatch(text)
        if found is None:
            raise UnimrError(f"An API key in {place} is not of the form NAME SHA256. `unimr key NAME` makes one.")
        keys[found[2]] = found[1]
    return keys


def name_of(key: str, keys: Mapping[str, str]) -> str | None:
    """The name of a key that is let in; None for any other."""
    return keys.get(_digest(key))


def check_address(host: str, keys: Mapping[str, str]) -> None:
    """Let a service without keys listen on this machine alone.

    Raises:
        UnimrError: the address is not loopback and there is no key.
    """
    if not keys and not is_loopback(host):
        raise UnimrError(
            f"{host} can be reached from other machines, so API keys are needed. Run `unimr key NAME`, put the line it "
            f"prints into a file, name that file in serve.keys_file of params.yaml (or use the variable {VARIABLE}), "
            "and start again; or serve on 127.0.0.1."
        )


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


class RateLimiter:
    """A bucket of tokens a key: `per_minute` requests a minute, a sixth of them at once."""

    def __init__(self, per_minute: int) -> None:
        self._rate, self._size = per_minute / 60, max(1.0, per_minute / 6)
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, name: str) -> float:
        """Take a token; 0, or the seconds until there is one."""
        now = time.monotonic()
        tokens, before = self._buckets.get(name, (self._size, now))
        tokens = min(self._size, tokens + (now - before) * self._rate)
        allowed = tokens >= 1
        self._buckets[name] = (tokens - 1 if allowed else tokens, now)
        return 0.0 if allowed else (1 - tokens) / self._rate


def _digest(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()
