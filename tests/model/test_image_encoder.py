from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from unimr.errors import UnimrError
from unimr.model.image_encoder import (
    ConvNet,
    View,
    are_photographs,
    as_seen,
    decode_rgba,
    on_background,
    to_pixels,
    views_of_photographs,
)
from unimr.model_params import PhotographViews


def test_decoding_keeps_transparency(draw):
    rgba = decode_rgba(draw((255, 0, 0, 128)), 32)
    assert rgba.shape == (4, 32, 32)
    assert rgba.dtype == np.uint8
    assert rgba[:, 5, 5].tolist() == [255, 0, 0, 128]


def test_a_wide_picture_is_padded_not_squeezed(draw):
    rgba = decode_rgba(draw((0, 0, 255, 255), size=(64, 32)), 32)
    assert (rgba[3, 8:24] == 255).all()
    assert (rgba[3, :8] == 0).all()
    assert (rgba[3, 24:] == 0).all()


def test_a_wide_photograph_is_padded_with_white_and_stays_one(draw):
    rgba = decode_rgba(draw((0, 0, 255), size=(64, 32), kind="JPEG", mode="RGB"), 32)
    assert (rgba[3] == 255).all()
    assert (rgba[:3, :8] == 255).all()
    assert (rgba[2, 8:24] > 240).all() and (rgba[0, 8:24] < 15).all()


def test_a_smaller_picture_fills_the_canvas(draw):
    assert (decode_rgba(draw((0, 0, 255, 255), size=(16, 16)), 32)[3] == 255).all()


def test_a_drawing_is_the_same_whatever_its_margins():
    canvas = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    canvas.paste((255, 0, 0, 255), (20, 30, 36, 46))
    assert (decode_rgba(png(canvas), 32) == decode_rgba(png(canvas.crop((20, 30, 36, 46))), 32)).all()


def test_a_picture_of_nothing_and_a_thin_line_are_pictures():
    assert not decode_rgba(png(Image.new("RGBA", (64, 64), (0, 0, 0, 0))), 32)[3].any()
    line = Image.new("RGBA", (500, 500), (0, 0, 0, 0))
    line.paste((0, 0, 255, 255), (0, 250, 500, 251))
    assert decode_rgba(png(line), 32)[3, 15:17].any()


def png(picture):
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(("kind", "mode"), [("PNG", "L"), ("PNG", "P"), ("JPEG", "RGB"), ("WEBP", "RGBA")])
def test_formats_and_modes(kind, mode):
    buffer = io.BytesIO()
    Image.new(mode, (20, 20)).save(buffer, kind)
    assert decode_rgba(buffer.getvalue(), 32).shape == (4, 32, 32)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(UnimrError):
        decode_rgba(data, 32)


def test_background_shows_through():
    rgba = torch.zeros(1, 4, 2, 2)
    rgba[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0, 0.5])
    out = on_background(rgba, torch.tensor([[0.0, 1.0, 0.0]]))
    assert out[0, :, 0, 0].tolist() == [0.5, 0.5, 0.0]
    assert out[0, :, 1, 1].tolist() == [0.0, 1.0, 0.0]


def test_pixels_are_on_white_between_0_and_1(draw):
    pixels = to_pixels(np.stack([decode_rgba(draw(colour), 32) for colour in [(10, 20, 30, 0), (255, 0, 0, 255)]]))
    assert pixels.shape == (2, 3, 32, 32)
    assert float(pixels[0].min()) == float(pixels.max()) == 1.0
    assert pixels[1, :, 3, 3].tolist() == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("side", [16, 32, 64])
def test_convnet_takes_pictures_of_any_side(model_params, side):
    net = ConvNet(model_params.image, 24).eval()
    assert net(torch.rand(2, 3, side, side)).shape == (2, 24)


def test_layout_matters(model_params):
    torch.manual_seed(0)
    net = ConvNet(model_params.image, 24).eval()
    pixels = torch.ones(1, 3, 32, 32)
    pixels[:, :, :16] = 0
    with torch.no_grad():
        assert not torch.allclose(net(pixels), net(pixels.flip(2)), atol=1e-3)


def test_a_picture_is_seen_at_every_scale_on_white():
    pixels, scales = torch.ones(1, 3, 64, 64), [0.9, 1.0, 1.4]
    pixels[..., 24:40, 24:40] = 0
    seen = as_seen(pixels, [View(scale) for scale in scales])
    dark = [float((1 - view).sum()) / 3 for view in seen]  # 16 x 16 dark pixels, scale squared
    assert dark == pytest.approx([256 * scale**2 for scale in scales], rel=0.05)


def test_every_other_view_of_a_photograph_is_mirrored():
    left = torch.ones(2, 3, 64, 64)
    left[..., 16:32] = 0
    seen = list(as_seen(left, views_of_photographs(PhotographViews(whole=[1.0, 1.1, 1.4]))))
    torch.testing.assert_close(seen[0], left)
    assert [bool(view[..., :32].sum() < view[..., 32:].sum()) for view in seen] == [True, False, True]


def test_a_photograph_is_seen_at_its_corners():
    quarters = torch.tensor([[0.1, 0.2], [0.3, 0.4]]).repeat_interleave(32, 0).repeat_interleave(32, 1)
    views = views_of_photographs(PhotographViews(whole=[1.0], corners=[2.0]))
    seen = [float(view.mean()) for view in as_seen(quarters.expand(1, 3, 64, 64), views)]
    assert seen == pytest.approx([0.25, 0.1, 0.3, 0.2, 0.4], abs=0.01)
    assert [view.mirror for view in views] == [1, 1, -1, -1, 1]


def test_only_what_cannot_be_transparent_is_a_photograph(draw):
    drawing = decode_rgba(draw((255, 0, 0, 255), size=(64, 32)), 32)
    photograph = decode_rgba(draw((0, 0, 255), size=(64, 32), kind="JPEG", mode="RGB"), 32)
    assert are_photographs(np.stack([drawing, photograph])).tolist() == [False, True]
