"""What is wrong with a parameter file, for the person who wrote it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def explain(path: Path, error: ValidationError, schema: type[BaseModel]) -> str:
    """Every problem of a file in one sentence, each with its place; a misspelt key with the nearest of `schema`."""
    problems = error.errors()
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    lines = []
    for problem in unknown or problems:  # a misspelt key also leaves the right one missing: say the cause only
        place = ".".join(str(part) for part in problem["loc"])
        if problem["type"] == "extra_forbidden":
            known = _known_keys(schema, problem["loc"][:-1])
            lines.append(f"{place}: unknown parameter.{nearest(str(problem['loc'][-1]), known)}")
        elif problem["type"] == "missing":
            lines.append(f"{place}: this parameter is missing")
        else:
            lines.append(f"{place}: {problem['msg']} (it is {problem['input']!r})")
    return f"{path} (with its profile) does not fit: " + "; ".join(lines)


def nearest(word: str, known: Iterable[str]) -> str:
    """What a misspelt word was probably meant to be, or all that is known."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f" Did you mean `{close[0]}`?" if close else f" Known: {', '.join(known)}."


def _known_keys(schema: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    section: Any = schema
    for part in place:
        if isinstance(part, int):  # of a list of sections
            section = get_args(section)[0]
            continue
        fields = {(field.alias or name): field for name, field in section.model_fields.items()}
        section = fields[str(part)].annotation
    return [field.alias or name for name, field in section.model_fields.items()]
