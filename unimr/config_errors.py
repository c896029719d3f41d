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
        section, parts = _walk(schema, problem["loc"])
        place = ".".join(str(part) for part in parts)
        if problem["type"] == "extra_forbidden":
            known = [field.alias or name for name, field in section.model_fields.items()]
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


def _walk(schema: type[BaseModel], place: tuple[int | str, ...]) -> tuple[type[BaseModel], list[int | str]]:
    """The innermost section at a place, and the place as the file has it: without the kinds that pydantic adds."""
    section, inside, parts = schema, [schema], []
    for part in place:
        if len(inside) > 1:  # one of several kinds, and this part says which
            section = next(member for member in inside if part in get_args(member.model_fields["kind"].annotation))
            inside = [section]
            continue
        parts.append(part)
        if isinstance(part, int):  # of a list, whose section is known
            continue
        section = inside[0] if inside else section
        fields = {(field.alias or name): field for name, field in section.model_fields.items()}
        inside = _sections(fields[part].annotation) if part in fields else []
    return section, parts


def _sections(annotation: Any) -> list[type[BaseModel]]:
    """The sections that a field may hold: itself, one of several kinds, or those of a list."""
    return [kind for kind in (annotation, *get_args(annotation)) if hasattr(kind, "model_fields")]
