"""The measures of `targets.yaml`: what the report begins with, and what decides between two models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def targets() -> list[dict[str, Any]]:
    """The lines of `targets.yaml` in their order; `measure` is `<task>.<measure>` as in `metrics/evaluation.json`."""
    return list(yaml.safe_load(Path(__file__).with_name("targets.yaml").read_text(encoding="utf-8")))
