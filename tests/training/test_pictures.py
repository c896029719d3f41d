from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.quality.small_catalogue import ITEMS, is_test_item, item_id
from unimr.data.tables import read_table
from unimr.model.image_encoder import decode_rgba
from unimr.training.image_task import draw_pictures, picture_losses
from unimr.training.losses.info_nce import InfoNCELoss
from unimr.training.losses.proxy import ProxyLoss
from unimr.training.pictures import Pictures

SIDE = 16


@pytest.fixture(scope="module")
def pictures(tables) -> Pictures:
    return Pictures.read(tables, SIDE)


def test_only_train_pictures_are_in_it(pictures, tables):
    assert pictures.item_ids == sorted(item_id(*pair) for pair in ITEMS if not is_test_item(*pair))
    images = read_table(tables, "images")
    assert len(pictures.rgba) == (images["split"] == "train").sum()
    held_out = images[images["split"] != "train"]["image"].iloc[0]
    same = (pictures.rgba.numpy() == decode_rgba(held_out, SIDE)).all(axis=(1, 2, 3))
    assert not same.any()


def test_pairs_are_two_styles_of_the_item(pictures, tables):
    items = np.arange(len(pictures.item_ids))
    left, right = pictures.pairs(items, np.random.default_rng(0))
    assert (left != right).all()
    assert (left // 2 == items).all()  # two trained styles an item, sorted by item
    assert (right // 2 == items).all()
    assert len(set((left % 2).tolist())) == 2


def test_an_item_of_one_picture_is_paired_with_itself(tables):
    images = read_table(tables, "images")
    images = images[(images["split"] == "train") & (images["style"] == "google")]
    left, right = Pictures(images, SIDE).pairs(np.arange(5), np.random.default_rng(0))
    assert (left == right).all()


def test_photographs_have_one_picture_an_item_in_a_batch(tables):
    images = read_table(tables, "images")
    photographs = Pictures(images[(images["split"] == "train") & (images["style"] == "google")], SIDE)
    batch = draw_pictures(photographs, 10, np.random.default_rng(0))
    assert (photographs.renderings, batch.rgba.shape) == (1, (10, 4, SIDE, SIDE))
    assert batch.rgba.equal(photographs.pixels(batch.items.numpy()))
    vectors = F.normalize(torch.randn(10, 8), dim=-1)
    proxies, contrast = ProxyLoss(len(photographs.item_ids), 8, [8]), InfoNCELoss()
    assert list(picture_losses(vectors, proxies, contrast, batch, 1.0)[1]) == ["image"]


def test_pixels_are_those_of_the_picture(pictures, tables):
    images = read_table(tables, "images")
    wanted = images[(images["item_id"] == pictures.item_ids[3]) & (images["style"] == "google")]["image"].item()
    pixels = pictures.pixels(np.array([6]))
    assert pixels.shape == (1, 4, SIDE, SIDE)
    assert np.allclose(pixels[0], decode_rgba(wanted, SIDE) / 255)


def test_the_generator_alone_decides_a_batch(pictures):
    def draw(seed: int):
        return draw_pictures(pictures, 10, np.random.default_rng(seed))

    first, again, other = draw(1), draw(1), draw(2)
    assert first.rgba.equal(again.rgba)
    assert first.names == again.names != other.names


def test_a_batch_holds_distinct_items_and_says_which(pictures):
    batch = draw_pictures(pictures, 10, np.random.default_rng(0))
    assert batch.rgba.shape == (20, 4, SIDE, SIDE)
    assert len(set(batch.names)) == 10
    assert [pictures.item_ids[item] for item in batch.items] == batch.names
    assert batch.names[0] in repr(batch)


def test_a_batch_larger_than_the_catalogue_holds_all_of_it(pictures):
    assert len(draw_pictures(pictures, 10_000, np.random.default_rng(0)).items) == len(pictures.item_ids)
