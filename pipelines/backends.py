"""Which bucket and which trainer: the user's, or the embedded ones of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.embedded import EmbeddedOptions, Services, use_services
from lora_prep.errors import ConfigurationError, TrainerNotAllowed
from lora_prep.events import Listener, ignore
from lora_prep.model import TrainingRequest
from lora_prep.settings import (
    EMBEDDED,
    HOSTED_TRAINER_URL,
    PROVIDER_STORE,
    Settings,
    TrainerSettings,
    home_folder,
    load_settings,
)
from lora_prep.stores import S3Store, StoreAccess, capabilities_of
from lora_prep.trainers import (
    Ledger,
    Pace,
    TokenBucket,
    TrainerClient,
    Waits,
    check_parameters,
    key_for,
    trainer_of,
    with_overrides,
)
from pipelines.places import database_of

__all__ = [
    "PROVIDER",
    "Backends",
    "Choice",
    "choose",
    "connect",
    "connect_store",
    "connect_trainer",
    "embedded_options",
    "open_ledger",
    "request_for",
]

PROVIDER = "wavespeed"  # whose API every trainer speaks
CAPABILITIES = Path("cache") / "buckets"
EMBEDDED_POLL_S = 0.25  # a rehearsal answers in seconds; nobody is billed or slowed by asking


@dataclass(frozen=True, slots=True)
class Choice:
    """What the settings ask for: a URL, "embedded", or "wavespeed" for the provider's storage."""

    store_url: str
    trainer_url: str

    @property
    def rehearsal(self) -> bool:
        """Whether the trainer is ours, which trains nothing and costs nothing."""
        return self.trainer_url == EMBEDDED

    @property
    def uploads_to_provider(self) -> bool:
        """Whether the data set goes to the provider's own storage instead of a bucket."""
        return self.store_url == PROVIDER_STORE


@dataclass(frozen=True, slots=True)
class Backends:
    """An open bucket, an open trainer and the ledger, with the settings they were opened by."""

    settings: Settings
    choice: Choice
    store: S3Store
    trainer: TrainerClient
    ledger: Ledger
    pace: Pace
    waits: Waits


def choose(settings: Settings) -> Choice:
    """Decide where to store and who trains, and check what will be asked; nothing is sent.

    Raises:
        ConfigurationError: a key without a bucket, a bucket without a key, a trainer of the user's
            own without its key, or parameters that the trainer does not take.
        TrainerNotAllowed: the trainer may not be used, or could not reach the store.
    """
    store, trainer = settings.store, settings.trainer
    has_key = bool(trainer.wavespeed_key or trainer.api_key)
    url = trainer.base_url or (HOSTED_TRAINER_URL if has_key else EMBEDDED)
    if trainer.base_url is None and has_key and store.url == EMBEDDED:
        raise ConfigurationError(
            "There is a trainer key but no bucket.",
            why="The hosted trainer cannot fetch photos from this machine.",
            fix="Set store.url to s3://bucket/prefix, or rehearse with --rehearse.",
        )
    if trainer.base_url is None and not has_key and store.url != EMBEDDED:
        place = "the provider's storage" if store.url == PROVIDER_STORE else "a bucket"
        raise ConfigurationError(
            f"There is {place} but no trainer key.",
            why="A real training needs both; a rehearsal needs neither.",
            fix="Set WAVESPEED_API_KEY, or rehearse with --rehearse.",
        )
    if url != EMBEDDED:
        local_store = store.url == EMBEDDED or is_loopback(store.endpoint_url or "")
        if local_store and store.url != PROVIDER_STORE and not is_loopback(url):
            raise TrainerNotAllowed(
                f"The trainer {host_and_port(url)} cannot fetch the photos.",
                why="The store is on this machine, the trainer is not.",
                fix="Set store.url to a bucket it can reach, or rehearse with --rehearse.",
            )
        _key(trainer, url)
    request_for("", settings)
    return Choice(store.url, url)


def request_for(data_url: str, settings: Settings) -> TrainingRequest:
    """Return what the settings ask the trainer for.

    Raises:
        ConfigurationError: there is no such trainer, or it does not take these parameters.
    """
    wanted = settings.trainer
    trainer = trainer_of(wanted.model, with_overrides(wanted.models))
    usual = next(int(one.default) for one in trainer.parameters if one.name == "steps")
    request = TrainingRequest(
        wanted.model,
        data_url,
        wanted.trigger_word,
        wanted.steps or usual,
        wanted.learning_rate,
        wanted.lora_rank,
    )
    check_parameters(trainer, request.parameters)
    return request


@contextmanager
def connect(settings: Settings | None = None, on_event: Listener = ignore) -> Iterator[Backends]:
    """Open the bucket, the trainer and the ledger, starting the embedded ones where asked for."""
    settings = settings or load_settings()
    choice, wanted = choose(settings), settings.trainer
    with ExitStack() as stack:
        services = stack.enter_context(_services(settings, choice.trainer_url, on_event))
        yield Backends(
            settings=settings,
            choice=choice,
            store=_open_store(settings, services),
            trainer=stack.enter_context(_open_trainer(settings, choice, services)),
            ledger=open_ledger(settings),
            pace=Pace(
                min_s=min(wanted.poll_min_s, EMBEDDED_POLL_S)
                if choice.rehearsal
                else wanted.poll_min_s,
                max_s=wanted.poll_max_s,
                wait_s=wanted.wait_s,
                fresh_s=wanted.fresh_s,
            ),
            waits=Waits(
                margin_s=wanted.margin_s,
                look_every_s=wanted.look_every_s,
                too_many_s=wanted.too_many_s,
                too_many_total_s=wanted.too_many_total_s,
            ),
        )


@contextmanager
def connect_store(
    settings: Settings, on_event: Listener = ignore, *, anew: bool = False
) -> Iterator[S3Store]:
    """Open the bucket alone; anew: find out again what it does, whatever is remembered."""
    with _services(settings, None, on_event) as services:
        yield _open_store(settings, services, anew=anew)


@contextmanager
def connect_trainer(settings: Settings) -> Iterator[TrainerClient]:
    """Open a trainer that is not the embedded one, alone: to ask what costs nothing."""
    with _open_trainer(settings, choose(settings), None) as trainer:
        yield trainer


@contextmanager
def _services(
    settings: Settings, trainer_url: str | None, on_event: Listener
) -> Iterator[Services | None]:
    """Start the embedded services if the store or the trainer is one of them."""
    # What is trained from the provider's own storage is archived in the embedded store.
    if not {EMBEDDED, PROVIDER_STORE} & {settings.store.url, trainer_url}:
        yield None
        return
    with use_services(home_folder(), embedded_options(settings), on_event) as services:
        yield services


def embedded_options(settings: Settings) -> EmbeddedOptions:
    """Return how the embedded services are to run."""
    return EmbeddedOptions(**settings.embedded.model_dump())


def _open_store(settings: Settings, services: Services | None, *, anew: bool = False) -> S3Store:
    wanted = settings.store
    if wanted.url not in (EMBEDDED, PROVIDER_STORE) or services is None:
        access = StoreAccess.from_url(
            wanted.url,
            endpoint_url=wanted.endpoint_url,
            region=wanted.region,
            profile=wanted.profile,
        )
    else:
        access = StoreAccess(
            bucket=services.store_bucket,
            endpoint_url=services.store_endpoint_url,
            region=services.store_region,
            access_key=services.store_access_key,
            secret_key=services.store_secret_key,
        )
    return S3Store(access, capabilities_of(access, home_folder() / CAPABILITIES, anew=anew))


def _open_trainer(settings: Settings, choice: Choice, services: Services | None) -> TrainerClient:
    wanted = settings.trainer
    if choice.trainer_url == EMBEDDED and services is not None:
        url, key, rate = services.trainer_url, services.trainer_key, None
    else:
        url, key = choice.trainer_url, _key(wanted, choice.trainer_url)
        rate = TokenBucket(per_minute=wanted.requests_per_minute, burst=wanted.requests_at_once)
    return TrainerClient(
        url,
        key,
        connect_timeout_s=wanted.connect_timeout_s,
        read_timeout_s=wanted.read_timeout_s,
        submit_timeout_s=wanted.submit_timeout_s,
        rate=rate,
    )


def _key(wanted: TrainerSettings, url: str) -> str:
    return key_for(url, wavespeed_key=_plain(wanted.wavespeed_key), own_key=_plain(wanted.api_key))


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def open_ledger(settings: Settings) -> Ledger:
    """Open the ledger of submissions alone."""
    wanted = settings.trainer
    return Ledger(
        database_of(settings),
        stale_s=wanted.submit_timeout_s + wanted.margin_s,
        most_month_usd=wanted.max_month_usd,
    )
