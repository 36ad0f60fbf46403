"""Colours as everybody expects them: sRGB, 8 bit, nothing transparent."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["clean", "mixable", "to_srgb"]


def clean(image: Image.Image) -> Image.Image:
    """Take every trace of the file from a picture: profile, EXIF, comments."""
    image.info.clear()
    return image


def to_srgb(image: Image.Image) -> Image.Image:
    """Return a picture as RGB in sRGB, by its profile; what is transparent becomes white.

    One that is so already is returned as it is.
    """
    from PIL import ImageCms

    profile = image.info.get("icc_profile")
    if "A" in image.getbands() or "transparency" in image.info:
        image = _on_white(image)
    if profile and image.mode in {"RGB", "CMYK", "L"}:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
        except (ImageCms.PyCMSError, OSError, ValueError):
            converted = None  # a profile that does not fit the pixels is worth less than none
        if converted is not None:
            return converted
    return image if image.mode == "RGB" else image.convert("RGB")


def mixable(image: Image.Image) -> Image.Image:
    """Return a picture whose pixels may be averaged before its profile is applied.

    Neither a palette nor what is transparent can be.
    """
    if image.mode in {"RGB", "L", "CMYK"} and "transparency" not in image.info:
        return image
    return clean(to_srgb(image))


def _on_white(image: Image.Image) -> Image.Image:
    from PIL import Image

    layer = image.convert("RGBA")
    white = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(white, layer).convert("RGB")
