"""What a run of the study found: a file that holds what every query reached, so that runs can be compared in pairs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from unimr.errors import UnimrError
from unimr.evaluation.measure import DIGITS, NLU, Evaluation
from unimr.evaluation.retrieval import FloatArray
from unimr.files import atomic_file


@dataclass(frozen=True)
class Result:
    """One variant with one seed.

    Attributes:
        values: task → what each query reached in each measure `[queries, measures]`; of `nlu` the counts of each
            utterance, see `unimr.evaluation.nlu.utterance_values`.
        languages: task → the language of each query.
        notes: what the run spent, such as `cpu_seconds` and `samples`, and `baselines`: measure → method → value.
    """

    values: dict[str, FloatArray]
    languages: dict[str, list[str]]
    notes: dict[str, Any]

    @classmethod
    def of(cls, evaluation: Evaluation, notes: Mapping[str, Any]) -> Result:
        """What an evaluation found, by query."""
        values = {name: task.values for name, task in evaluation.tasks.items()}
        languages = {name: task.task.languages for name, task in evaluation.tasks.items()}
        if evaluation.nlu:
            values[NLU], languages[NLU] = evaluation.nlu.values, evaluation.nlu.languages
        baselines = {
            f"{name}.{task.task.measure}": {
                baseline: round(means[task.task.measure], DIGITS) for baseline, means in task.baselines.items()
            }
            for name, task in evaluation.tasks.items()
        }
        return cls(values, languages, {**notes, "baselines": baselines})

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        tensors = {name: np.ascontiguousarray(values, dtype=np.float64) for name, values in self.values.items()}
        data = save(tensors, {"languages": json.dumps(self.languages), "notes": json.dumps(self.notes)})
        with atomic_file(path) as temporary:
            temporary.write_bytes(data)

    @classmethod
    def read(cls, path: Path) -> Result:
        """Read a file.

        Raises:
            UnimrError: it is damaged.
        """
        try:
            with safe_open(path, framework="numpy") as opened:
                about = opened.metadata()
                values = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 (it is no mapping)
        except SafetensorError as error:
            raise UnimrError(f"{path} is damaged ({error}). Remove it and run `unimr study` again.") from error
        return cls(values, json.loads(about["languages"]), json.loads(about["notes"]))
