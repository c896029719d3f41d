"""Loading `params.yaml` and the chosen profile.

`profiles/<profile>.yaml` overrides single keys. An unknown or misspelt key is an error that names the nearest right
one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from unimr.config_errors import explain, nearest
from unimr.errors import UnimrError
from unimr.files import write_text
from unimr.params import Params


def load_params(root: Path = Path(), overrides: Mapping[str, Any] | None = None) -> Params:
    """Read `params.yaml` under `root`, laid over with the profile it names.

    Args:
        root: the project folder.
        overrides: single parameters to lay over both, such as `{"train_joint.steps": 300}`.

    Raises:
        UnimrError: a file is missing or not YAML, a key is unknown or misspelt, a value has the wrong type.
    """
    path, given = root / "params.yaml", _nested(overrides or {})
    values = _read_yaml(path)
    profiles = sorted(file.stem for file in (root / "profiles").glob("*.yaml"))
    profile = given.get("profile", values.get("profile"))
    if profile not in profiles:
        raise UnimrError(f"{path}: profile: there is no profile {profile!r}.{nearest(str(profile), profiles)}")
    overlay(values, _read_yaml(root / "profiles" / f"{profile}.yaml"))
    overlay(values, given)
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise UnimrError(explain(path, error, Params)) from error


def place_overrides(overrides: Mapping[str, Any], root: Path = Path()) -> dict[Path, dict[str, Any]]:
    """Check overrides and say where to write them: file → its part of them, nested.

    A parameter that the profile sets is written in the profile's file, since what `params.yaml` says of it has no
    effect; all others in `params.yaml`.

    Raises:
        UnimrError: with these overrides the parameters do not fit; see `load_params`.
    """
    profile = root / "profiles" / f"{load_params(root, overrides).profile}.yaml"
    of_profile = _read_yaml(profile)
    inside, outside = _split(_nested(overrides), of_profile)
    return {path: part for path, part in ((root / "params.yaml", outside), (profile, inside)) if part}


def _nested(overrides: Mapping[str, Any]) -> dict[str, Any]:
    """`{"a.b": 1}` → `{"a": {"b": 1}}`."""
    values: dict[str, Any] = {}
    for key, value in overrides.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        overlay(values, value)
    return values


def _split(values: dict[str, Any], known: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The part of nested values that is set in `known` too, and the rest."""
    inside: dict[str, Any] = {}
    outside: dict[str, Any] = {}
    for key, value in values.items():
        if not isinstance(known, dict) or key not in known:
            outside[key] = value
        elif isinstance(value, dict):
            within, without = _split(value, known[key])
            inside |= {key: within} if within else {}
            outside |= {key: without} if without else {}
        else:
            inside[key] = value
    return inside, outside


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UnimrError(f"{path} does not exist. Run unimr in the project folder.") from error
    except yaml.YAMLError as error:
        raise UnimrError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise UnimrError(f"{path} must hold sections such as `prepare:`, a stage each.")
    return values


def overlay(base: dict[str, Any], changes: dict[str, Any]) -> None:
    """Lay `changes` over `base`, section by section; lists and plain values are replaced.

    So is a section whose `kind` changes: the keys of the old kind mean nothing to the new one.
    """
    for key, value in changes.items():
        old = base.get(key)
        if isinstance(value, dict) and isinstance(old, dict) and value.get("kind", 0) in (0, old.get("kind")):
            overlay(old, value)
        else:
            base[key] = value


def choose_profile(name: str, root: Path = Path()) -> None:
    """Set the key `profile` in `params.yaml`, leaving everything else, comments too, as it is.

    Raises:
        UnimrError: there is no such profile.
    """
    known = sorted(file.stem for file in (root / "profiles").glob("*.yaml"))
    if name not in known:
        raise UnimrError(f"There is no profile {name!r}.{nearest(name, known)}")
    path = root / "params.yaml"
    text = path.read_text(encoding="utf-8")
    write_text(path, re.sub(r"^profile:.*$", f"profile: {name}", text, count=1, flags=re.MULTILINE))
