"""Who wins among flag, environment and files; and what is said about a setting that is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lora_prep.errors import ConfigurationError, LoraPrepError, UnknownSetting
from lora_prep.settings import Settings, home_folder, load_settings, load_settings_with_origins
from tests.sample import as_ordinary_user

SECRET = "wsk-0123456789abcdef"


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in list(os.environ):
        if variable.startswith(("LORA_PREP_", "WAVESPEED_")):
            monkeypatch.delenv(variable)
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    user = tmp_path / "user"
    user.mkdir()
    monkeypatch.setattr(
        "lora_prep.settings.platformdirs.user_config_dir", lambda *_, **__: str(user)
    )


def write_project_file(text: str) -> None:
    Path("lora-prep.toml").write_text(text, encoding="utf-8")


def write_user_file(text: str) -> None:
    Path("../user/config.toml").write_text(text, encoding="utf-8")


def refused(flags: Mapping[str, Mapping[str, Any]] | None = None) -> LoraPrepError:
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(flags)
    return refusal.value


# ── where a value comes from ──────────────────────────────────────────────────────────────────


def test_without_anything_set_the_defaults_hold() -> None:
    settings, origins = load_settings_with_origins()

    assert settings == Settings()
    assert origins == {}
    assert settings.dataset.min_images == 10
    assert settings.store.url == "embedded"
    assert (settings.trainer.base_url, settings.trainer.api_key) == (None, None)


def test_flag_beats_environment_beats_project_file_beats_user_file(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_user_file(
        "[trainer]\nsteps = 1100\ntrigger_word = 'user'\nwait_s = 1\nread_timeout_s = 1"
    )
    write_project_file("[trainer]\nsteps = 1200\ntrigger_word = 'project'\nwait_s = 2")
    monkeypatch.setenv("LORA_PREP_TRAINER__STEPS", "1300")
    monkeypatch.setenv("LORA_PREP_TRAINER__TRIGGER_WORD", "environment")

    settings, origins = load_settings_with_origins({"trainer": {"steps": 1400}})

    assert settings.trainer.steps == 1400
    assert settings.trainer.trigger_word == "environment"
    assert settings.trainer.wait_s == 2
    assert settings.trainer.read_timeout_s == 1
    assert settings.trainer.connect_timeout_s == 10  # nobody set it
    assert origins == {
        "trainer.steps": "flag",
        "trainer.trigger_word": "environment",
        "trainer.wait_s": "lora-prep.toml",
        "trainer.read_timeout_s": "config.toml",
    }


def test_the_key_is_read_from_the_variable_of_the_official_clients(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WAVESPEED_API_KEY", f" {SECRET}\n")
    key = load_settings().trainer.wavespeed_key
    assert key is not None
    assert key.get_secret_value() == SECRET
    assert load_settings().trainer.api_key is None

    monkeypatch.setenv("LORA_PREP_TRAINER__API_KEY", f"\tours-{SECRET} \n")
    key = load_settings().trainer.api_key
    assert key is not None
    assert key.get_secret_value() == f"ours-{SECRET}"


@pytest.mark.parametrize("variable", ["WAVESPEED_API_KEY", "LORA_PREP_TRAINER__API_KEY"])
@pytest.mark.parametrize("blank", ["", "  \n"], ids=["empty", "white space"])
def test_a_blank_key_is_no_key(monkeypatch: pytest.MonkeyPatch, variable: str, blank: str) -> None:
    monkeypatch.setenv(variable, blank)

    assert load_settings().trainer.api_key is None
    assert load_settings().trainer.wavespeed_key is None


@pytest.mark.parametrize(
    ("section", "name", "given", "kept"),
    [
        ("store", "url", " s3://bucket/ada/\n", "s3://bucket/ada"),
        ("store", "url", "embedded\n", "embedded"),
        ("store", "region", "eu-west-1\n", "eu-west-1"),
        ("trainer", "base_url", "https://trainer.example/ \n", "https://trainer.example"),
        ("trainer", "trigger_word", " p3r5on ", "p3r5on"),
    ],
)
def test_white_space_that_was_copied_along_is_dropped(
    section: str, name: str, given: str, kept: str
) -> None:
    settings = load_settings({section: {name: given}})

    assert getattr(getattr(settings, section), name) == kept


def test_the_home_folder_is_no_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LORA_PREP_HOME", str(tmp_path))

    assert load_settings() == Settings()


# ── names nobody knows ────────────────────────────────────────────────────────────────────────


def unknown(flags: Mapping[str, Mapping[str, Any]] | None = None) -> UnknownSetting:
    error = refused(flags)
    assert isinstance(error, UnknownSetting)
    assert error.code == "unknown_setting"
    return error


@pytest.mark.parametrize(
    ("text", "near"),
    [
        ("[dataset]\nmin_image = 12", "dataset.min_images"),
        ("[dataste]\nsize = 1024", "dataset.size"),
        ("dataset = 3", "dataset."),
        ("steps = 3000", "trainer.steps"),
        ("[trainer.steps]\nvalue = 3000", ""),
    ],
)
def test_an_unknown_name_in_a_file_is_refused_with_the_nearest(text: str, near: str) -> None:
    write_project_file(text)

    error = refused()

    assert near in error.why
    if near:
        assert isinstance(error, UnknownSetting)
        assert "lora-prep.toml" in error.what


@pytest.mark.parametrize(
    ("variable", "near"),
    [
        ("LORA_PREP_TRAINER__STEP", "trainer.steps"),
        ("LORA_PREP_STORE__URI", "store.url"),
        ("LORA_PREP_DATASET__", "dataset."),
        ("LORA_PREP_DATASET", "dataset."),
        ("LORA_PREP_TRAINER_STEPS", "trainer.steps"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch, variable: str, near: str
) -> None:
    monkeypatch.setenv(variable, "3")

    error = unknown()

    assert near in error.why
    assert "environment" in error.what


def test_an_unknown_flag_is_refused_with_the_nearest() -> None:
    assert "trainer.trigger_word" in unknown({"trainer": {"triger_word": "x"}}).why
    assert "flag" in unknown({"foo": {"bar": 1}}).what


def test_an_empty_section_is_allowed() -> None:
    write_project_file("[dataset]\n")

    assert load_settings() == Settings()


# ── secrets ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("write", [write_project_file, write_user_file])
def test_a_key_in_a_file_is_refused(write: Any) -> None:
    write(f'[trainer]\napi_key = "{SECRET}"')

    error = refused()

    assert "trainer.api_key" in error.what
    assert "WAVESPEED_API_KEY" in error.fix
    assert SECRET not in str(error)


@pytest.mark.parametrize(
    ("trainer", "named"),
    [
        ({"api_key": [SECRET]}, "trainer.api_key"),
        ({"api_key": {"value": SECRET}}, "trainer.api_key"),
        ({"api_key": SECRET, "steps": "many"}, "trainer.steps"),
        ({"api_key": SECRET, "steps": SECRET}, "trainer.steps"),
        ({"apikey": SECRET}, "trainer.apikey"),
    ],
)
def test_no_error_shows_a_secret(trainer: dict[str, Any], named: str) -> None:
    error = refused({"trainer": trainer})

    assert named in error.what
    assert "flag" in error.what
    assert SECRET not in str(error)
    assert SECRET not in repr(error)
    assert SECRET not in str(error.to_json())
    assert error.__cause__ is None  # pydantic's own text would show it


def test_no_text_of_the_settings_shows_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAVESPEED_API_KEY", SECRET)
    settings = load_settings()

    for text in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in text


# ── values that do not fit ────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("dataset", "min_images", 9),  # the trainer asks for 10
        ("dataset", "max_images", 9),
        ("dataset", "size", 511),
        ("dataset", "min_size", "large"),
        ("store", "presign_hours", 0),
        ("store", "presign_hours", 169),  # SigV4 ends at seven days
        ("trainer", "steps", 0),  # each trainer has its own range: see trainers/catalogue.py
        ("trainer", "max_cost_usd", -1),
        ("trainer", "trigger_word", ""),
        ("trainer", "poll_min_s", "nan"),
        ("trainer", "read_timeout_s", -1),
        ("embedded", "rehearsal_blocks", 41),
    ],
)
def test_a_value_out_of_range_is_refused_by_its_name(
    section: str, name: str, value: object
) -> None:
    error = refused({section: {name: value}})

    assert f"{section}.{name} (flag)" in error.what


@pytest.mark.parametrize(
    "url", ["", "bucket", "s3://", "s3:///ada", "http://bucket", "s3:/bucket", "S3//bucket"]
)
def test_a_store_is_embedded_or_a_bucket(url: str) -> None:
    assert "store.url" in refused({"store": {"url": url}}).what


def test_a_bucket_needs_no_prefix_and_no_slash() -> None:
    assert load_settings({"store": {"url": "s3://bucket"}}).store.url == "s3://bucket"
    assert load_settings({"store": {"url": "s3://bucket/a/b/"}}).store.url == "s3://bucket/a/b"


@pytest.mark.parametrize("url", ["trainer.example", "ftp://trainer.example", "", "http://", "//x"])
def test_a_trainer_is_embedded_or_an_http_server(url: str) -> None:
    assert "trainer.base_url" in refused({"trainer": {"base_url": url}}).what


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://trainer.example/", "https://trainer.example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("embedded", "embedded"),
        (None, None),
    ],
)
def test_a_trainer_that_is_one(given: str | None, kept: str | None) -> None:
    assert load_settings({"trainer": {"base_url": given}}).trainer.base_url == kept


def test_a_byte_order_mark_is_no_part_of_a_file() -> None:
    write_project_file("\ufeff[dataset]\nmax_images = 20\n")

    assert load_settings().dataset.max_images == 20


@pytest.mark.parametrize("data", [b"[dataset", b"size = ", b"\xff\xfe[dataset]"])
def test_a_file_that_is_no_toml_is_refused_by_its_path(data: bytes) -> None:
    Path("lora-prep.toml").write_bytes(data)

    error = refused()

    assert "lora-prep.toml" in error.what
    assert error.__cause__ is not None


def test_settings_cannot_be_changed() -> None:
    settings = load_settings()

    with pytest.raises(ValueError, match="frozen"):
        settings.trainer.steps = 1000  # type: ignore[misc]


# ── the home folder ───────────────────────────────────────────────────────────────────────────


def test_the_home_folder_is_made_for_its_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_PREP_HOME", str(tmp_path / "a" / "home"))
    mask = os.umask(0o000)
    try:
        home = home_folder()
    finally:
        os.umask(mask)

    assert home == (tmp_path / "a" / "home").resolve()
    assert home.stat().st_mode & 0o777 == 0o700
    assert home_folder() == home  # a second call finds it


def test_the_home_folder_may_be_given_with_a_tilde_or_relative(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LORA_PREP_HOME", "~/state")
    assert home_folder() == tmp_path.resolve() / "state"

    monkeypatch.setenv("LORA_PREP_HOME", "state")
    assert home_folder() == Path("state").absolute().resolve()


def test_without_a_choice_it_is_the_platforms_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lora_prep.settings.platformdirs.user_data_dir", lambda *_, **__: str(tmp_path / "data")
    )

    assert home_folder() == (tmp_path / "data").resolve()


def test_a_home_folder_that_cannot_be_made_is_a_configuration_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("x")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        monkeypatch.setenv("LORA_PREP_HOME", str(home))
        with pytest.raises(ConfigurationError, match="file"):
            home_folder()


def test_a_home_folder_that_cannot_be_written_is_said_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_PREP_HOME", ".")
    tmp_path.chmod(0o555)
    said = as_ordinary_user(tmp_path, lambda: str(home_folder()))
    tmp_path.chmod(0o755)
    assert "ConfigurationError" in said
    assert "cannot be written" in said


# ── what other files reuse ────────────────────────────────────────────────────────────────────


def test_an_error_names_the_file_that_the_flags_come_from() -> None:
    with pytest.raises(UnknownSetting) as unknown_name:
        load_settings({"trainer": {"step": 1}}, origin="jobs.toml")
    with pytest.raises(ConfigurationError) as unfit:
        load_settings({"trainer": {"steps": 0}}, origin="jobs.toml")

    assert "(jobs.toml)" in unknown_name.value.what
    assert "(jobs.toml)" in unfit.value.what


@pytest.mark.parametrize("command", ["'open", "tell\0me"])
def test_a_command_that_cannot_be_split_is_refused(command: str) -> None:
    assert "notify.command" in refused({"notify": {"command": command}}).what


def test_a_command_is_kept_as_it_is() -> None:
    assert load_settings({"notify": {"command": " a 'b c' "}}).notify.command == "a 'b c'"
    assert load_settings().notify.command == ""


def test_a_folder_of_others_cannot_name_a_command_to_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("lora-prep.toml").write_text('[notify]\ncommand = "rm -rf /"\n')
    with pytest.raises(ConfigurationError, match=r"notify\.command"):
        load_settings()
    Path("lora-prep.toml").write_text("[notify]\ntimeout_s = 5\n")
    monkeypatch.setenv("LORA_PREP_NOTIFY__COMMAND", "mail me")
    assert load_settings().notify.command == "mail me"
