"""Typed settings: flag > environment > project file > user file > default.

The project file is `lora-prep.toml` in the working folder, the user file `config.toml` in the
platform's configuration folder. The environment names a setting `LORA_PREP_<SECTION>__<NAME>`.
A name nobody knows is an error that offers the nearest one; a secret in a file is refused.

Importing this module loads pydantic (0.2 s CPU): import it where settings are read, not at the top
of the command line.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from lora_prep.addresses import why_not_a_server
from lora_prep.errors import ConfigurationError, UnknownSetting

__all__ = [
    "API_KEY_VARIABLE",
    "EMBEDDED",
    "HOSTED_TRAINER_URL",
    "PREFIX",
    "PROJECT_FILE",
    "PROVIDER_STORE",
    "SECRET_NAME",
    "ArchiveSettings",
    "DatasetSettings",
    "EmbeddedSettings",
    "EngineSettings",
    "FacesSettings",
    "NotifySettings",
    "Settings",
    "StoreSettings",
    "TrainerSettings",
    "home_folder",
    "load_settings",
    "load_settings_with_origins",
    "nearest",
    "refuse_secrets",
]

PREFIX = "LORA_PREP_"
HOME_VARIABLE = "LORA_PREP_HOME"
API_KEY_VARIABLE = "WAVESPEED_API_KEY"  # the name every official client reads
HOSTED_TRAINER_URL = "https://api.wavespeed.ai"
EMBEDDED: Literal["embedded"] = "embedded"
PROVIDER_STORE: Literal["wavespeed"] = "wavespeed"  # its own upload place, for the data set alone
PROJECT_FILE = "lora-prep.toml"
SECRET_NAME = re.compile("key|secret|token|password", re.IGNORECASE)


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class DatasetSettings(_Section):
    """What a training set must be. The trainer's page asks for at least 10 face images."""

    min_images: int = Field(10, ge=10, description="usable photos needed; 10 is the floor")
    max_images: int = Field(30, ge=10, description="photos kept at most")
    framing: Literal["head-and-shoulders", "close-up", "upper-body", "mixed"] = Field(
        "head-and-shoulders", description="how much of the person a crop shows"
    )
    size: int = Field(1024, ge=512, description="side of a crop, px; smaller photos stay smaller")
    min_size: int = Field(512, ge=256, description="a crop smaller than this is left out, px")
    identity: bool = Field(True, description="keep one person only")
    reference: str | None = Field(None, description="a photo of the person meant")
    captions: bool = Field(False, description="take along the .txt beside each photo")
    overrides: str | None = Field(None, description="file of decisions made by hand")
    cache: bool = Field(True, description="remember what was seen in a photo")
    workers: int = Field(0, ge=0, description="photos worked on side by side; 0 is one per core")

    @model_validator(mode="after")
    def _most_is_at_least_least(self) -> DatasetSettings:
        if self.max_images < self.min_images or self.size < self.min_size:
            raise ValueError("max_images and size must not be below min_images and min_size")
        return self


class FacesSettings(_Section):
    """Which models find faces and tell people apart."""

    pack: str = Field("open", min_length=1, description="name of a face pack, or its folder")
    accept_noncommercial: bool = Field(
        False, description="the terms of packs for non-commercial use are accepted"
    )
    base_url: str | None = Field(
        None, description="server to fetch packs from; InsightFace's releases without"
    )
    connect_timeout_s: float = Field(10.0, gt=0, description="to open a connection, s")
    read_timeout_s: float = Field(30.0, gt=0, description="longest silence of that server, s")

    @field_validator("base_url")
    @classmethod
    def _base_url_is_a_server(cls, url: str | None) -> str | None:
        if url is not None and (why := why_not_a_server(url)):
            raise ValueError(why)
        return url and url.rstrip("/")


class StoreSettings(_Section):
    """Where the data set and the LoRA go."""

    url: str = Field(
        EMBEDDED, description='"embedded", s3://bucket/prefix, or "wavespeed" for its own uploads'
    )
    endpoint_url: str | None = Field(None, description="S3 endpoint, for services other than AWS")
    region: str | None = Field(None, description="S3 region")
    profile: str | None = Field(None, description="profile of the AWS configuration files")
    presign_margin_hours: float = Field(
        1.0, ge=0, le=168, description="refuse to submit when the URL would end sooner, h"
    )
    presign_hours: float = Field(24, gt=0, le=168, description="life of the data URL, hours")
    verify: Literal["read", "head"] = Field(
        "read", description='"head" compares an upload by length and recorded hash alone'
    )

    @field_validator("url")
    @classmethod
    def _url_is_a_bucket(cls, url: str) -> str:
        if url in (EMBEDDED, PROVIDER_STORE) or re.match(r"s3://[^/\s]", url):
            return url.rstrip("/")
        raise ValueError('must be "embedded", "wavespeed" or s3://bucket/prefix')

    @field_validator("endpoint_url")
    @classmethod
    def _endpoint_is_a_server(cls, url: str | None) -> str | None:
        if url is not None and (why := why_not_a_server(url)):
            raise ValueError(why)
        return url and url.rstrip("/")


class TrainerSettings(_Section):
    """Who trains, and with what."""

    base_url: str | None = Field(
        None, description='"embedded", or the URL of a server of this API; hosted with a key'
    )
    api_key: SecretStr | None = Field(
        None, description="key of a server of your own; environment only"
    )
    wavespeed_key: SecretStr | None = Field(
        None, description="WAVESPEED_API_KEY: sent to WaveSpeed and to this machine only"
    )
    model: str = Field("wavespeed-ai/wan-14b-trainer", description="which of its trainers")
    trigger_word: str = Field("p3r5on", min_length=1, description="the word that calls the person")
    steps: int | None = Field(None, ge=1, description="training steps; the trainer's own without")
    learning_rate: float | None = Field(None, gt=0, description="for trainers that take it")
    lora_rank: int | None = Field(None, ge=1, description="for trainers that take it")
    max_cost_usd: float | None = Field(None, ge=0, description="refuse a dearer training, USD")
    max_month_usd: float | None = Field(
        None, ge=0, description="refuse what takes a month's spend above it, USD"
    )
    webhook: str | None = Field(None, description="https address told of the training's end")
    purge_remote: bool = Field(
        False, description="delete the training at the provider once its LoRA is archived"
    )
    in_flight: int = Field(3, ge=1, description="trainings at a time; the lowest account tier's")
    requests_per_minute: float = Field(60.0, gt=0, description="requests to the trainer at most")
    requests_at_once: int = Field(10, ge=1, description="of them without a pause")
    poll_min_s: float = Field(5.0, gt=0, description="first wait between two polls, s")
    poll_max_s: float = Field(60.0, gt=0, description="longest wait between two polls, s")
    wait_s: float = Field(7 * 86400.0, gt=0, description="longest wait for a training, s")
    fresh_s: float = Field(
        60.0, ge=0, description="how long it may not know an id before that is gone, s"
    )
    connect_timeout_s: float = Field(10.0, gt=0, description="to open a connection, s")
    read_timeout_s: float = Field(30.0, gt=0, description="for an answer, s")
    submit_timeout_s: float = Field(60.0, gt=0, description="for the answer to a submission, s")
    margin_s: float = Field(
        60.0, ge=0, description="after that, until a consistent list must show it, s"
    )
    look_every_s: float = Field(5.0, gt=0, description="between two looks for a lost answer, s")
    too_many_s: float = Field(60.0, ge=0, description="wait where the trainer has no room, s")
    too_many_total_s: float = Field(3600.0, ge=0, description="longest wait for room, s")
    models: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="trainers of your own, or other limits of known ones"
    )

    @field_validator("base_url")
    @classmethod
    def _base_url_is_a_server(cls, url: str | None) -> str | None:
        if url not in (None, EMBEDDED) and (why := why_not_a_server(url)):
            raise ValueError(f'must be "embedded" or a URL; as a URL it {why}')
        return url and url.rstrip("/")

    @field_validator("api_key", "wavespeed_key")
    @classmethod
    def _strip_white_space(cls, key: SecretStr | None) -> SecretStr | None:
        # A newline copied along with the key is the usual cause of 401.
        bare = key.get_secret_value().strip() if key else ""
        if not bare.isascii():
            raise ValueError("holds a letter that no key has; copy it again")
        return SecretStr(bare) if bare else None


class ArchiveSettings(_Section):
    """How a result is fetched from the provider."""

    max_gb: float = Field(8.0, gt=0, description="a larger file is refused, GB")
    connect_timeout_s: float = Field(10.0, gt=0, description="to open a connection, s")
    read_timeout_s: float = Field(60.0, gt=0, description="longest silence of a server, s")
    retry_min_s: float = Field(1.0, gt=0, description="first pause before another try, s")
    retry_max_s: float = Field(300.0, gt=0, description="longest pause before another try, s")
    soon_h: float = Field(48.0, gt=0, description="a result that expires within is called soon, h")


class EngineSettings(_Section):
    """Where it is written down what was paid for and how far each run is, and who works on it."""

    database_url: SecretStr | None = Field(
        None, description="postgresql://... for several machines; a file in the home without"
    )
    executor_id: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]{1,40}$",
        description="what this machine is called in the database; a random word without",
    )
    heartbeat_s: float = Field(15.0, gt=0, description="between two signs of life, s")
    reaper_s: float = Field(
        120.0, gt=0, description="a machine silent for so long is dead: others go on, s"
    )
    look_s: float = Field(1.0, gt=0, description="between two looks for work, s")
    drain_s: float = Field(60.0, ge=0, description="longest wait for stages at the end, s")
    keep_days: int = Field(
        90, ge=0, description="`runs prune` removes runs that ended before, days; 0 is never"
    )


class EmbeddedSettings(_Section):
    """The S3 server and the trainer service that run here when there is no account."""

    idle_s: float = Field(60.0, gt=0, description="they end this long after the last command, s")
    start_timeout_s: float = Field(60.0, gt=0, description="longest wait for their start, s")
    rehearsal_rank: int = Field(4, ge=1, le=128, description="rank of the rehearsal LoRA")
    rehearsal_blocks: int = Field(40, ge=1, le=40, description="blocks of the rehearsal LoRA")
    rehearsal_s: float = Field(2.0, ge=0, description="how long a rehearsal training takes, s")


class NotifySettings(_Section):
    """Which command of the user's own is told how a run ended."""

    command: str = Field(
        "", description="run without a shell, one JSON object on its stdin; empty is off"
    )
    timeout_s: float = Field(30.0, gt=0, description="it is killed when it takes longer, s")

    @field_validator("command")
    @classmethod
    def _command_can_be_split(cls, command: str) -> str:
        if "\0" in command:
            raise ValueError("holds a character that no command can have")
        shlex.split(command)  # its own error says what is wrong: "No closing quotation"
        return command


class Settings(_Section):
    """Every setting, by section."""

    dataset: DatasetSettings = DatasetSettings()
    faces: FacesSettings = FacesSettings()
    store: StoreSettings = StoreSettings()
    trainer: TrainerSettings = TrainerSettings()
    archive: ArchiveSettings = ArchiveSettings()
    engine: EngineSettings = EngineSettings()
    embedded: EmbeddedSettings = EmbeddedSettings()
    notify: NotifySettings = NotifySettings()


@dataclass(frozen=True, slots=True)
class _Layer:
    """The values that one source gives: {section: {name: value}}."""

    origin: str
    values: Mapping[str, Mapping[str, Any]]


def home_folder() -> Path:
    """Return the folder of all state: `LORA_PREP_HOME`, else the platform's user data folder.

    It is made for its owner alone (0700). One that was there keeps its mode: the folders in it
    that hold photos and keys are 0700 in any case.
    """
    chosen = os.environ.get(HOME_VARIABLE)
    home = Path(chosen).expanduser() if chosen else Path(platformdirs.user_data_dir("lora-prep"))
    fix = f"Set {HOME_VARIABLE} to a folder that you may write."
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"The folder {home} cannot be made.", why=f"{error.strerror}.", fix=fix
        ) from error
    if not os.access(home, os.W_OK | os.X_OK):  # said now: not after a minute of work
        raise ConfigurationError(
            f"The folder {home} cannot be written.", why="It is not yours to write.", fix=fix
        )
    return home.resolve()


def load_settings(
    flags: Mapping[str, Mapping[str, Any]] | None = None, *, origin: str = "flag"
) -> Settings:
    """Read the settings from every source; `flags` ({section: {name: value}}) win.

    origin: where the flags come from, for the words of an error.

    Raises:
        UnknownSetting: a file, the environment or a flag names a setting that does not exist.
        ConfigurationError: a value does not fit, a file is no TOML, or a file holds a secret.
    """
    return load_settings_with_origins(flags, origin=origin)[0]


def load_settings_with_origins(
    flags: Mapping[str, Mapping[str, Any]] | None = None, *, origin: str = "flag"
) -> tuple[Settings, dict[str, str]]:
    """Read the settings and, for each "section.name" that is not the default, say who set it."""
    layers = [
        _aws_layer(os.environ),
        _file_layer(Path(platformdirs.user_config_dir("lora-prep")) / "config.toml"),
        _file_layer(Path(PROJECT_FILE).absolute()),
        _environment_layer(os.environ),
        _Layer(origin, flags or {}),
    ]
    merged: dict[str, dict[str, Any]] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        _check_names(layer)
        for section, values in layer.values.items():
            merged.setdefault(section, {}).update(values)
            origins.update({f"{section}.{name}": layer.origin for name in values})
    try:
        return Settings.model_validate(merged), origins
    except ValidationError as error:
        raise _unfit_value(error, origins) from None  # pydantic's text would show a secret


def _file_layer(path: Path) -> _Layer:
    origin = path.name
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return _Layer(origin, {})
    except (OSError, UnicodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(
            f"The settings file {path} cannot be read.",
            why=f"{error}.",
            fix="Mend the file or move it away.",
        ) from error
    refuse_secrets(values, f"The settings file {path}")
    if origin == PROJECT_FILE and "command" in _section(values, "notify"):
        raise ConfigurationError(
            f"The settings file {path} names a command to run: notify.command.",
            why="Folders are copied from others, and looking at one must not run their programs.",
            fix="Move the line to config.toml in your configuration folder, or set "
            "LORA_PREP_NOTIFY__COMMAND.",
        )
    return _Layer(origin, values)


def refuse_secrets(sections: Mapping[str, Any], holder: str) -> None:
    """Raise if a file's sections hold a key or a URL with a password.

    holder: what holds it, as the error begins.

    Raises:
        ConfigurationError: they do; the secret itself is not in it.
    """
    for section in sections:
        if secret := next(filter(_is_secret, _section(sections, section).items()), ("", ""))[0]:
            raise ConfigurationError(
                f"{holder} holds a secret: {section}.{secret}.",
                why="Files are copied, committed and shared; keys must not be.",
                fix=f"Remove the line. {API_KEY_VARIABLE} takes the trainer's key, the AWS_* "
                "variables and profiles those of the store, PGPASSFILE the database's password.",
            )


def _is_secret(setting: tuple[str, object]) -> bool:
    """Whether a name is that of a secret, or a value a URL with a password."""
    name, value = setting
    if SECRET_NAME.search(name):
        return True
    return isinstance(value, str) and bool(re.match(r"[^/\s]*://[^/\s@]*:[^/\s@]+@", value))


def _aws_layer(environment: Mapping[str, str]) -> _Layer:
    """The endpoint that boto3 itself would take from the environment, known to our checks too."""
    for variable in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"):
        if url := environment.get(variable):
            return _Layer(variable, {"store": {"endpoint_url": url}})
    return _Layer("AWS", {})


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    section = values.get(name, {})
    return section if isinstance(section, Mapping) else {}


def _environment_layer(environment: Mapping[str, str]) -> _Layer:
    values: dict[str, dict[str, Any]] = {}
    if key := environment.get(API_KEY_VARIABLE, "").strip():
        values["trainer"] = {"wavespeed_key": key}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable == HOME_VARIABLE:
            continue
        section, _, name = variable.removeprefix(PREFIX).lower().partition("__")
        values.setdefault(section, {})[name] = value
    return _Layer("environment", values)


def _check_names(layer: _Layer) -> None:
    known = [
        f"{section}.{name}"
        for section, field in Settings.model_fields.items()
        for name in type(field.default).model_fields
    ]
    for section, values in layer.values.items():
        names = values if isinstance(values, Mapping) and values else [""]
        for name in names:
            full = f"{section}.{name}".rstrip(".")
            if full in known or (full in Settings.model_fields and values == {}):
                continue
            raise UnknownSetting(
                f"There is no setting {full!r} ({layer.origin}).",
                why=nearest(full, known),
                fix="Correct the name; `lora-prep config show` lists every setting.",
            )


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a sentence that offers, for a name nobody knows, the known one that is most like it.

    >>> nearest("steps", ["trainer.steps", "store.url"])
    "The nearest one is 'trainer.steps'."
    """
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.4)
    return f"The nearest one is {near[0]!r}." if near else "No name is like it."


def _unfit_value(error: ValidationError, origins: Mapping[str, str]) -> ConfigurationError:
    first = error.errors(include_input=False, include_url=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    return ConfigurationError(
        f"The setting {name} ({origins.get(name, 'default')}) does not fit.",
        why=f"{first['msg'].removeprefix('Value error, ')}.",
        fix="Correct the value; `lora-prep config show` lists every setting.",
    )
