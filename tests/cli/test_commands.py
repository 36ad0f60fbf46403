"""The command line itself: the overview, usage errors, settings, and bad input."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

import pytest

from lora_prep.cli.commands import COMMANDS, GROUPS
from lora_prep.cli.dispatch import build_app
from lora_prep.cli.exit_status import exit_status
from lora_prep.cli.main import overview
from lora_prep.errors import LoraPrepError
from tests.cli.command import SAMPLE_DATA, in_process, lora_prep
from tests.cli.schemas import valid

KEY = {"WAVESPEED_API_KEY": "wsk-secret"}
BUCKET = {"LORA_PREP_STORE__URL": "s3://b/p"}
TRAINER = "LORA_PREP_TRAINER__BASE_URL"
ADA = SAMPLE_DATA / "people" / "ada"


def home() -> Path:
    return Path(os.environ["LORA_PREP_HOME"])


def left_behind() -> list[Path]:
    return [path for path in home().rglob("*") if path.is_file()] if home().exists() else []


def test_the_overview_lists_every_command_once_and_fits_a_terminal() -> None:
    text = overview()
    for command in COMMANDS:
        assert len(re.findall(rf"^  {re.escape(command.usage)}  ", text, re.MULTILINE)) == 1
        assert command.group in GROUPS
    assert max(len(line) for line in text.splitlines()) <= 100


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.words)
def test_every_command_exists_and_its_help_begins_like_the_overview(
    command: object, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(command, tuple)
    words = command.words.split()  # type: ignore[attr-defined]
    with pytest.raises(SystemExit) as ended:
        build_app()([*words, "--help"])
    assert ended.value.code in (None, 0)
    printed = capsys.readouterr().out
    assert printed.startswith(f"Usage: lora-prep {' '.join(words)}")
    assert "--json" in printed


@pytest.mark.parametrize("group", ["archive", "config", "faces", "lora", "store"])
def test_a_group_s_help_says_what_its_commands_do(
    group: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        build_app(group)([group, "--help"])
    printed = capsys.readouterr().out
    for command in COMMANDS:
        if command.words.startswith(f"{group} "):
            name = command.words.split()[1]
            assert re.search(rf"^│ {name} +[A-Z]\w+ ", printed, re.MULTILINE), printed


def test_every_error_has_an_exit_status() -> None:
    def kinds(kind: type[LoraPrepError]) -> list[type[LoraPrepError]]:
        return [kind, *(deeper for sub in kind.__subclasses__() for deeper in kinds(sub))]

    documented = re.findall(
        r"(\w+)\s+\w+\s+(\d+)$", LoraPrepError.__module__ and _errors_page(), re.MULTILINE
    )
    statuses = {name: int(status) for name, status in documented}
    for kind in kinds(LoraPrepError)[1:]:
        assert exit_status(kind("a", why="b", fix="c")) == statuses[kind.__name__]


def _errors_page() -> str:
    import lora_prep.errors

    return lora_prep.errors.__doc__ or ""


@pytest.mark.slow
def test_version_and_help_are_data_on_stdout() -> None:
    for arguments in ([], ["--help"], ["--version"]):
        done = lora_prep(*arguments)
        assert (done.status, done.stderr) == (0, "")
        assert done.stdout.startswith("lora-prep")


@pytest.mark.parametrize(
    "arguments",
    ["rn", "run", "run --steps many x", "run x --nonsense", "store sideways"],
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = in_process(capsys, *arguments.split())
    assert (done.status, done.error_code, done.stdout) == (2, "configuration", "")


@pytest.mark.slow
def test_bad_folders_give_four_lines_the_right_status_and_leave_nothing(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    file = tmp_path / "file.txt"
    file.write_text("hello")
    cases = [
        (tmp_path / "missing", 2, "not_a_photo_folder"),
        (file, 2, "not_a_photo_folder"),
        (empty, 3, "no_photos"),
    ]
    for folder, status, code in cases:
        for name in ("run", "inspect"):
            done = lora_prep(name, folder, "--json")
            assert (done.status, done.error_code) == (status, code)
            assert done.json["error"]["code"] == code
            valid(done.json, "run" if name == "run" else "inspection")
    assert left_behind() == []


@pytest.mark.slow
def test_a_folder_without_photos_lists_every_file(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "page.jpg").write_bytes(b"<html>")
    (tmp_path / "zero.png").touch()
    done = lora_prep("inspect", tmp_path, "--json")
    assert (done.status, done.error_code) == (3, "dataset_too_small")
    valid(done.json, "inspection")
    assert {photo["file"]: photo["verdict"] for photo in done.json["photos"]} == {
        "notes.txt": "left_out", "page.jpg": "left_out", "zero.png": "left_out",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("environment", "code", "says"),
    [
        (KEY, "configuration", "no bucket"),
        (BUCKET, "configuration", "no trainer key"),
        ({TRAINER: "https://trainer.test"}, "trainer_not_allowed", "cannot fetch"),
        ({TRAINER: "http://127.0.0.1:9"}, "configuration", "needs a key"),
        ({TRAINER: "http://bob:wsk-secret@127.0.0.1:9"}, "configuration", "user or password"),
        ({"LORA_PREP_STORE__ENDPOINT_URL": "http://[x"}, "configuration", "store.endpoint_url"),
        ({"WAVESPEED_API_KEY": "schl\u00fcssel"}, "configuration", "trainer.wavespeed_key"),
        (
            BUCKET | {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9", TRAINER: "https://trainer.test"},
            "trainer_not_allowed",
            "cannot fetch",
        ),
        ({"LORA_PREP_TRAINER__STEPS": "5"}, "configuration", "trainer.steps"),
        ({"LORA_PREP_TRAINER__STEP": "2000"}, "unknown_setting", "trainer.steps"),
        ({"LORA_PREP_STORE__URL": "ftp://b"}, "configuration", "store.url"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_any_work(
    environment: dict[str, str],
    code: str,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = in_process(capsys, "run", ADA)
    assert (done.status, done.error_code, done.stdout) == (2, code, "")
    assert says in done.stderr
    assert "wsk-secret" not in done.stderr
    assert left_behind() == []


@pytest.mark.slow
def test_plan_sends_nothing_and_shows_the_exact_request(tmp_path: Path) -> None:
    done = lora_prep("plan", ADA, "--json", "--steps", "1500", "--trigger-word", "ad4")
    assert done.status == 0
    valid(done.json, "plan")
    assert done.json["request"]["body"]["steps"] == 1500
    assert done.json["request"]["body"]["trigger_word"] == "ad4"
    assert done.json["dataset"]["images"] == 16
    assert not (home() / "services").exists()


@pytest.mark.slow
def test_prepare_writes_the_same_zip_from_any_folder(tmp_path: Path) -> None:
    elsewhere = tmp_path / "other name"
    shutil.copytree(ADA, elsewhere)
    first = lora_prep("prepare", ADA, "-o", tmp_path / "a.zip", "--json")
    second = lora_prep("prepare", elsewhere, "-o", tmp_path / "b.zip", "--json")
    assert (first.status, second.status) == (0, 0)
    valid(first.json, "prepare")
    assert first.json["dataset"]["sha256"] == second.json["dataset"]["sha256"]
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.slow
def test_a_zip_that_is_written_among_the_photos_is_not_looked_at(tmp_path: Path) -> None:
    folder = shutil.copytree(ADA, tmp_path / "ada")
    done = lora_prep("prepare", folder, "-o", folder / "ada.zip", "--json")
    assert done.status == 0
    assert done.json["inspection"]["found"] == 16
    assert [path.name for path in folder.glob("*.zip*")] == ["ada.zip"]


@pytest.mark.slow
@pytest.mark.parametrize("command", ["inspect", "prepare"])
def test_captions_that_cannot_be_used_stand_in_the_report(tmp_path: Path, command: str) -> None:
    folder = shutil.copytree(ADA, tmp_path / "ada")
    (folder / "ada_01.txt").write_text("no word")
    output = ["-o", tmp_path / "ada.zip"] if command == "prepare" else []
    done = lora_prep(command, folder, "--captions", "--json", *output)
    assert (done.status, done.error_code) == (3, "caption_invalid")
    valid(done.json, "inspection" if command == "inspect" else command)
    report = Path(done.json["report"]).read_text()
    assert "ada_01.txt holds the trigger word no time" in report
    assert report.count("<img") == 16


def test_one_very_long_name_does_not_widen_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{'long' * 50}.jpg").touch()
    (tmp_path / "a.jpg").touch()
    done = in_process(capsys, "inspect", tmp_path)
    assert max(len(line) for line in done.stdout.splitlines() if "  a.jpg" in line) < 100


def test_prepare_refuses_a_place_it_cannot_write_before_any_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe = tmp_path / "pipe.zip"
    os.mkfifo(pipe)
    for output in (tmp_path, tmp_path / "no" / "folder.zip", pipe):
        done = in_process(capsys, "prepare", ADA, "-o", output)
        assert (done.status, done.error_code) == (2, "configuration")
    assert left_behind() == []
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


@pytest.mark.slow
def test_nine_photos_are_refused_with_every_reason_and_nothing_is_uploaded() -> None:
    done = lora_prep("run", SAMPLE_DATA / "nine", "--json")
    assert (done.status, done.error_code) == (3, "dataset_too_small")
    valid(done.json, "run")
    inspection = done.json["inspection"]
    assert (inspection["found"], inspection["usable"], inspection["selected"]) == (15, 9, 0)
    assert {photo["verdict"] for photo in inspection["photos"]} == {"spare", "left_out"}
    assert Path(done.json["report"]).exists()
    assert Path(done.json["report"]).with_name("contact_sheet.jpg").exists()
    assert not (home() / "services").exists()
    shown = lora_prep("open", "--json")
    valid(shown.json, "open")
    assert shown.json["report"] == done.json["report"]


def test_open_without_a_report_and_with_a_climbing_id(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["../../etc"], ["20260101t000000-abcdef"]):
        done = in_process(capsys, "open", *arguments)
        assert (done.status, done.error_code) == (2, "configuration")


def test_config_show_names_the_origin_and_hides_keys(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WAVESPEED_API_KEY", "wsk-secret")
    Path("lora-prep.toml").write_text("[trainer]\nsteps = 3000\n")
    done = in_process(capsys, "config", "show", "--json")
    valid(done.json, "config-show")
    settings = done.json["settings"]
    assert settings["trainer.steps"]["value"] == 3000
    assert settings["trainer.steps"]["origin"] == "lora-prep.toml"
    assert settings["trainer.wavespeed_key"]["value"] == "(hidden)"
    assert "wsk-secret" not in done.stdout + in_process(capsys, "config", "show").stdout


@pytest.mark.slow
def test_a_file_name_that_is_no_text_is_printed_all_the_same(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.jpg")).write_bytes(b"x")
    for arguments in (["inspect", tmp_path], ["inspect", tmp_path, "--json"]):
        done = lora_prep(*arguments, PYTHONIOENCODING="ascii")
        assert done.status == 3
        assert "caf" in done.stdout


def test_rehearse_is_never_mixed_with_a_bucket_of_one_s_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = in_process(capsys, "plan", ADA, "--rehearse", "--store", "s3://real-bucket")
    assert (done.status, done.error_code) == (2, "configuration")
    assert left_behind() == []


def test_wrong_settings_do_not_hide_the_list_of_settings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("lora-prep.toml").write_text("[trainer]\nsteps = 0\n")
    done = in_process(capsys, "config", "show")
    assert (done.status, done.error_code) == (2, "configuration")
    assert "trainer.steps" in done.stdout


def test_a_secret_of_any_kind_is_refused_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("lora-prep.toml").write_text('[store]\nsecret_key = "wsk-secret"\n')
    done = in_process(capsys, "run", ADA)
    assert (done.status, done.error_code) == (2, "configuration")
    assert "holds a secret" in done.stderr
    assert "wsk-secret" not in done.stderr


def test_the_system_s_refusals_are_told_in_four_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **flags: object) -> None:
        raise OSError(28, "No space left on device", "/somewhere")

    monkeypatch.setattr("pipelines.steps.inspect", full)
    done = in_process(capsys, "inspect", ADA)
    assert (done.status, done.error_code) == (1, "system")
    assert "No space left on device" in done.stderr
    assert "/somewhere" in done.stderr


def test_names_cannot_write_to_the_terminal() -> None:
    from lora_prep.cli.session import shown

    assert shown("a\x1b[31mRED\x07\n.jpg") == r"a\x1b[31mRED\x07\n.jpg"
    assert shown("caf\u00e9 \U0001f600.jpg") == "caf\u00e9 \U0001f600.jpg"


def test_a_name_in_an_error_neither_breaks_its_four_lines_nor_writes_to_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    done = in_process(capsys, "inspect", "two\nlines\x1b[31m", "--json")
    assert done.stderr.splitlines()[0] == r"There is no folder two\nlines\x1b[31m."
    assert done.error_code == "not_a_photo_folder"
    assert done.json["error"]["message"] == "There is no folder two\nlines\x1b[31m."


@pytest.mark.slow
def test_a_closed_stdout_is_no_traceback() -> None:
    import subprocess

    from tests.cli.command import command

    for line in ("config show --json >&-", "config show --json >/dev/full", "--help >/dev/full"):
        quoted = " ".join(command(*line.split(" >")[0].split()))
        done = subprocess.run(
            ["/bin/sh", "-c", f"{quoted} >{line.split(' >')[1]}"], capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr, line


@pytest.mark.slow
def test_our_own_home_below_the_folder_is_not_taken_for_photos(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(SAMPLE_DATA / "nine", folder)
    for _ in range(2):
        done = lora_prep("inspect", folder, "--json", LORA_PREP_HOME=str(folder / "home"))
        assert done.json["found"] == 15
