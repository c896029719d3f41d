"""Parameters for one run alone.

DVC reads parameters from files, so that overrides are written into `params.yaml` (or into the profile, where it sets
the parameter) for the length of a run, and taken out again at its end. Left there, the next scheduled run would go on
with somebody's experiment, and a commit would make it the project's choice. Nothing is lost: what the experiment made
stays in the DVC cache, the version it published stays published, and where it was better, the next run with the
parameters of the project is kept back by the gate, which says so. Who wants an experiment to last writes it into
`params.yaml`; the stages are then restored from the cache, not run.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML

from unimr.config import overlay, place_overrides
from unimr.files import read_json, write_json, write_text

JOURNAL = Path(".work/overrides.json")
"""What was changed, while it is: a run that is killed leaves it to the next one."""


@contextmanager
def overridden(overrides: Mapping[str, Any], on_line: Callable[[str], None], root: Path = Path()) -> Iterator[None]:
    """Have parameters such as `{"train_joint.steps": 300}` in force inside the block. Call it inside `only_writer`.

    Raises:
        UnimrError: with these overrides the parameters do not fit; nothing is changed.
    """
    _take_out(root, on_line)
    if overrides:
        _put_in(overrides, root)
        on_line(f"For this run alone: {', '.join(f'{key} = {value!r}' for key, value in overrides.items())}")
    try:
        yield
    finally:
        _take_out(root, on_line)


def _put_in(overrides: Mapping[str, Any], root: Path) -> None:
    journal: dict[str, dict[str, Any]] = {}
    for path, values in place_overrides(overrides, root).items():
        before = path.read_text(encoding="utf-8")
        name = path.relative_to(root).as_posix()
        journal[name] = {"values": values, "before": before, "after": _with_values(before, values)}
    write_json(root / JOURNAL, journal)
    for name, entry in journal.items():
        write_text(root / name, entry["after"])


def _take_out(root: Path, on_line: Callable[[str], None]) -> None:
    if not (root / JOURNAL).exists():
        return
    for name, entry in read_json(root / JOURNAL).items():
        now = (root / name).read_text(encoding="utf-8")
        if now == entry["after"]:
            write_text(root / name, entry["before"])
        elif now != entry["before"]:  # a person has edited it meanwhile: the edits stay
            on_line(f"{name} was edited during a run with overrides: the overrides were taken out, the edits stay")
            write_text(root / name, _with_values(now, _originals(entry["values"], yaml.safe_load(entry["before"]))))
    (root / JOURNAL).unlink()


def _with_values(text: str, values: dict[str, Any]) -> str:
    """YAML with other values; comments and order stay."""
    editor = YAML()
    editor.representer.add_representer(type(None), _written_out)
    editor.preserve_quotes = True
    editor.width = 4096  # no line is broken
    data = editor.load(text)
    overlay(data, values)
    stream = io.StringIO()
    editor.dump(data, stream)
    return stream.getvalue()


def _originals(values: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """What `before` says of the parameters in `values`."""
    return {
        key: _originals(value, before[key])
        if isinstance(value, dict) and isinstance(before[key], dict)
        else before[key]
        for key, value in values.items()
        if key in before
    }


def _written_out(representer: Any, _nothing: None) -> Any:
    """Nothing is written `null`, as in params.yaml, and not left empty."""
    return representer.represent_scalar("tag:yaml.org,2002:null", "null")
