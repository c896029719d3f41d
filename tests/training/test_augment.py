from __future__ import annotations

import pytest
import torch

from unimr.training.augment import CHANGES, augment, crop, maybe, random_backgrounds, relight, warp


@pytest.fixture
def rgba() -> torch.Tensor:
    return torch.rand(6, 4, 16, 16, generator=torch.Generator().manual_seed(0))


def seeded(seed: int, function, *values):
    torch.manual_seed(seed)
    return function(*values)


def test_the_seed_alone_decides(rgba):
    assert torch.equal(seeded(1, augment, rgba), seeded(1, augment, rgba))
    assert not torch.equal(seeded(1, augment, rgba), seeded(2, augment, rgba))


def test_shape_and_range(rgba):
    before = rgba.clone()
    for seed in range(20):
        out = seeded(seed, augment, rgba)
        assert out.shape == (6, 3, 16, 16)
        assert float(out.min()) >= 0
        assert float(out.max()) <= 1
        assert bool(out.isfinite().all())
    assert torch.equal(rgba, before)


@pytest.mark.parametrize("change", [change for change, _ in CHANGES], ids=lambda change: change.__name__)
def test_every_change_keeps_the_shape_and_changes_something(rgba, change):
    pixels = rgba[:, :3]
    out = seeded(0, change, pixels)
    assert out.shape == pixels.shape
    assert bool(out.isfinite().all())
    assert not torch.equal(out, pixels)


def test_grey_has_one_value_in_all_channels(rgba):
    grey = next(change for change, _ in CHANGES if change.__name__ == "grey")(rgba[:, :3])
    assert torch.allclose(grey[:, 0], grey[:, 2])


def test_outlines_only_darken(rgba):
    outline = next(change for change, _ in CHANGES if change.__name__ == "outline")
    assert bool((seeded(0, outline, rgba[:, :3]) <= rgba[:, :3]).all())


def test_maybe_changes_about_the_share_asked_for():
    pixels = torch.zeros(2000, 1, 1, 1)
    assert float(seeded(0, maybe, pixels, torch.ones_like, 0.3).mean()) == pytest.approx(0.3, abs=0.05)
    assert maybe(pixels, torch.ones_like, 0.0) is pixels


def test_warp_moves_in_what_was_transparent(rgba):
    out = seeded(0, warp, rgba)
    assert out.shape == rgba.shape
    assert not torch.equal(out, rgba)


def test_backgrounds_are_mostly_white():
    colours = seeded(0, random_backgrounds, 1000, torch.device("cpu"))
    assert colours.shape == (1000, 3)
    assert float((colours == 1).all(dim=1).float().mean()) == pytest.approx(0.8, abs=0.05)


def test_photographs_are_cropped_and_relit_and_not_restyled(rgba):
    photographs = rgba.clone()
    photographs[:, 3] = 1
    out = seeded(0, augment, photographs)
    assert out.shape == (6, 3, 16, 16)
    assert torch.equal(out, seeded(0, lambda: relight(crop(photographs[:, :3]))))


@pytest.mark.parametrize(("strength", "smallest"), [(0.0, 1.0), (1.0, 0.6), (1.5, 0.4)])
def test_a_crop_shows_a_part_of_the_picture(strength, smallest):
    ramp = torch.linspace(0, 1, 32).expand(200, 3, 32, 32)  # dark on the left, light on the right
    rows = seeded(0, crop, ramp, strength)[:, 0, 16]
    widths = (rows.amax(dim=1) - rows.amin(dim=1)).tolist()
    assert smallest - 0.05 < min(widths) < smallest + 0.05
    assert max(widths) == pytest.approx(1, abs=0.05)
    assert 80 < sum(bool(row[0] > row[-1]) for row in rows) < 120  # mirrored every other time


def test_light_varies_with_the_strength(rgba):
    pixels = rgba[:, :3]
    little, much = (float((seeded(0, relight, pixels, strength) - pixels).abs().mean()) for strength in (0.5, 2.0))
    assert little < much / 2
