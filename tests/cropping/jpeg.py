"""The marker segments of a JPEG (ITU T.81, table B.1)."""

from __future__ import annotations

from collections.abc import Iterator

NAMES = {0xDB: "DQT", 0xC0: "SOF0", 0xC4: "DHT", 0xDD: "DRI", 0xFE: "COM"}


def segments(jpeg: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of every segment up to the pixels; the pixels must end the file."""
    assert jpeg[:2] == b"\xff\xd8"
    place = 2
    while (marker := jpeg[place + 1]) != 0xDA:
        assert jpeg[place] == 0xFF
        length = int.from_bytes(jpeg[place + 2 : place + 4], "big")
        name = NAMES.get(marker, f"APP{marker - 0xE0}" if 0xE0 <= marker <= 0xEF else hex(marker))
        yield name, jpeg[place + 4 : place + 2 + length]
        place += 2 + length
    # Behind the scan header only pixels: each FF is stuffed, a restart, or the end.
    place += 2 + int.from_bytes(jpeg[place + 2 : place + 4], "big")
    pixels = jpeg[place:-2]
    assert jpeg[-2:] == b"\xff\xd9"
    assert all(pixels[at + 1] == 0 for at in range(len(pixels) - 1) if pixels[at] == 0xFF)


def only_pixels(jpeg: bytes) -> bool:
    """Whether there is nothing in it but what it takes to decode it, and JFIF's own header."""
    found = list(segments(jpeg))
    return {name for name, _ in found} <= {"DQT", "SOF0", "DHT", "APP0"} and all(
        data[:5] == b"JFIF\0" and len(data) == 14 for name, data in found if name == "APP0"
    )
