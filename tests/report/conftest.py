"""A report that is written and read again."""

import pytest

from lora_prep.report import write_report

from .helpers import Page


@pytest.fixture
def written(tmp_path):
    def write(chosen, *arguments, **options) -> Page:
        path = tmp_path / "report.html"
        write_report(path, chosen, *arguments, **{"title": "ada"} | options)
        assert not path.with_name("report.html.part").exists()
        return Page.read(path)

    return write
