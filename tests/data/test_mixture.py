"""What training is told of published data sets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from unimr.data.mixture import draw_shares, origin, write_labels, write_mixture
from unimr.files import read_json


def test_labels_are_those_of_train(tmp_path):
    rows = [("b", "train", ["time"]), ("a", "train", ["date", "time"]), ("c", "test", ["place"])]
    frame = pd.DataFrame(
        [{"intent": i, "split": s, "slots": [{"label": label} for label in labels]} for i, s, labels in rows]
    )
    write_labels(tmp_path, frame)
    assert read_json(tmp_path / "labels.json") == {"intents": ["a", "b"], "slots": ["date", "time"]}


@pytest.mark.parametrize(("record_id", "expected"), [("flickr:17", "flickr"), ("en/train/massive:en.3", "massive")])
def test_the_origin_stands_before_the_colon(record_id, expected):
    assert origin(record_id) == expected


def test_shares_sum_to_one_and_there_are_none_without_a_mixture(tmp_path):
    assert draw_shares(tmp_path, ["a:1"], ["en"]) is None
    write_mixture(tmp_path, {"a": 3.0, "b": 1.0}, 0.5)
    shares = draw_shares(tmp_path, ["a:1", "a:2", "a:3", "a:4", "a:5", "b:1"], ["en"] * 4 + ["de", "en"])
    assert shares is not None
    assert shares == pytest.approx(np.array([0.125, 0.125, 0.125, 0.125, 0.25, 0.25]))
