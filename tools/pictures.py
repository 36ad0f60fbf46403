"""Make the README's picture: the contact sheet of the sample person, as `run` writes it."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["LORA_PREP_HOME"] = home
        from pipelines import steps

        dataset = steps.prepare(ROOT / "sample_data" / "people" / "ada")
        target = ROOT / "docs" / "pictures" / "contact_sheet.jpg"
        shutil.copyfile(dataset.run.path / "contact_sheet.jpg", target)
    print(target.relative_to(ROOT))


if __name__ == "__main__":
    main()
