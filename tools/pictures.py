"""Make the pictures of docs/pictures: the contact sheet of the sample person, and the report.

The sheet needs nothing but this project; the report is photographed by Chromium, headless and as an
unprivileged user, where there is one.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
SAMPLES = ROOT / "sample_data"
PICTURES = ROOT / "docs" / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
DARK = "--blink-settings=preferredColorScheme=0"
SHOTS = {  # name: width and height in CSS pixels, pixels each of them gets, a flag more
    "report_light": (1280, 2075, 1, ()),
    "report_dark": (1280, 2075, 1, (DARK,)),
    "report_phone": (390, 1814, 2, ()),
}
JPEG_QUALITY = 85


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        os.environ["LORA_PREP_HOME"] = str(Path(place) / "home")
        from lora_prep.embedded import stop_services
        from lora_prep.settings import home_folder
        from pipelines import steps

        dataset = steps.prepare(SAMPLES / "people" / "ada")
        shutil.copyfile(dataset.run.path / "contact_sheet.jpg", PICTURES / "contact_sheet.jpg")
        browser = next(filter(None, map(shutil.which, BROWSERS)), None)
        if browser is None:
            print(f"none of {', '.join(BROWSERS)} is there: the report is not photographed")
            return
        try:
            report = steps.run(mixed_folder(Path(place))).run.report
        finally:
            stop_services(home_folder())
        for name, (width, height, scale, flags) in SHOTS.items():
            flags = (
                f"--window-size={width},{height}",
                f"--force-device-scale-factor={scale}",
                *flags,
            )
            photograph(browser, report, PICTURES / f"{name}.jpg", flags)


def mixed_folder(place: Path) -> Path:
    """Return a folder as people have it: good photos, bad ones, copies, somebody else."""
    folder = place / "ada"
    shutil.copytree(SAMPLES / "people" / "ada", folder)
    shutil.copytree(SAMPLES / "rejects", folder, dirs_exist_ok=True)
    shutil.copyfile(min((SAMPLES / "people" / "ben").iterdir()), folder / "visitor.jpg")
    return folder


def photograph(browser: str, page: Path, target: Path, flags: tuple[str, ...]) -> None:
    """Write what a browser shows of a page, from its top."""
    with tempfile.TemporaryDirectory() as place:
        copy, shot = Path(place) / page.name, Path(place) / "shot.png"
        shutil.copyfile(page, copy)
        user = None
        if os.geteuid() == 0:  # as root it would run without its sandbox
            user = "nobody"
            shutil.chown(place, user)
            shutil.chown(copy, user)
        subprocess.run(
            [browser, "--headless", "--hide-scrollbars", "--disable-gpu", "--no-first-run",
             f"--user-data-dir={place}/profile", f"--screenshot={shot}", *flags, copy.as_uri()],
            check=True, capture_output=True, timeout=120, user=user, cwd=place,
            env={**os.environ, "HOME": place},
        )  # fmt: skip
        with Image.open(shot) as image:
            image.convert("RGB").save(target, quality=JPEG_QUALITY, optimize=True)
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
