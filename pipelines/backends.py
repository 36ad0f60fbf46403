"""Which bucket and which trainer: the user's, or the embedded ones of a rehearsal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from lora_prep.addresses import host_and_port, is_loopback
from lora_prep.embedded import EmbeddedOptions, Services, use_services
from lora_prep.errors import ConfigurationError, TrainerNotAllowed
from lora_prep.events import Listener, ignore
from lora_prep.settings import (
    EMBEDDED,
    HOSTED_TRAINER_URL,
    Settings,
    home_folder,
    load_settings,
)
from lora_prep.stores import S3Store, StoreAccess
from lora_prep.trainers import Pace, TrainerClient, check_trainer_address

__all__ = ["Backends", "Choice", "choose", "connect", "connect_store", "embedded_options"]

EMBEDDED_POLL_S = 0.25  # a rehearsal answers in seconds; nobody is billed or slowed by asking


@dataclass(frozen=True, slots=True)
class Choice:
    """What the settings ask for: a URL, or "embedded"."""

    store_url: str
    trainer_url: str

    @property
    def rehearsal(self) -> bool:
        """Whether the trainer is ours, which trains nothing and costs nothing."""
        return self.trainer_url == EMBEDDED


@dataclass(frozen=True, slots=True)
class Backends:
    """An open bucket and an open trainer, with the settings they were opened by."""

    settings: Settings
    store: S3Store
    trainer: TrainerClient
    pace: Pace


def choose(settings: Settings) -> Choice:
    """Decide where to store and who trains; nothing is started or sent.

    Raises:
        ConfigurationError: a key without a bucket, a bucket without a key, or a trainer of the
            user's own without its key.
        TrainerNotAllowed: the trainer may not be used, or could not reach the store.
    """
    store, trainer = settings.store, settings.trainer
    url = trainer.base_url or (HOSTED_TRAINER_URL if trainer.api_key else EMBEDDED)
    if trainer.base_url is None and trainer.api_key and store.url == EMBEDDED:
        raise ConfigurationError(
            "There is a trainer key but no bucket.",
            why="The hosted trainer cannot fetch photos from this machine.",
            fix="Set store.url to s3://bucket/prefix, or rehearse with --rehearse.",
        )
    if trainer.base_url is None and not trainer.api_key and store.url != EMBEDDED:
        raise ConfigurationError(
            "There is a bucket but no trainer key.",
            why="A real training needs both; a rehearsal needs neither.",
            fix="Set WAVESPEED_API_KEY, or rehearse with --rehearse.",
        )
    if url != EMBEDDED:
        _check_own_trainer(settings, url)
    return Choice(store.url, url)


def _check_own_trainer(settings: Settings, url: str) -> None:
    store = settings.store
    local_store = store.url == EMBEDDED or is_loopback(store.endpoint_url or "")
    if local_store and not is_loopback(url):
        raise TrainerNotAllowed(
            f"The trainer {host_and_port(url)} cannot fetch the photos.",
            why="The store is on this machine, the trainer is not.",
            fix="Set store.url to a bucket it can reach, or rehearse with --rehearse.",
        )
    check_trainer_address(url)
    if settings.trainer.api_key is None:
        raise ConfigurationError(
            f"The trainer {host_and_port(url)} needs a key.",
            why="Every call of its API carries one.",
            fix="Set LORA_PREP_TRAINER__API_KEY.",
        )


@contextmanager
def connect(settings: Settings | None = None, on_event: Listener = ignore) -> Iterator[Backends]:
    """Open the bucket and the trainer, starting the embedded ones where they are asked for."""
    settings = settings or load_settings()
    choice = choose(settings)
    with ExitStack() as stack:
        services = stack.enter_context(_services(settings, choice.trainer_url, on_event))
        store = _open_store(settings, services)
        client = stack.enter_context(_open_trainer(settings, choice, services))
        least_s = settings.trainer.poll_min_s
        pace = Pace(
            min_s=min(least_s, EMBEDDED_POLL_S) if choice.rehearsal else least_s,
            max_s=settings.trainer.poll_max_s,
            wait_s=settings.trainer.wait_s,
        )
        yield Backends(settings, store, client, pace)


@contextmanager
def connect_store(settings: Settings, on_event: Listener = ignore) -> Iterator[S3Store]:
    """Open the bucket alone."""
    with _services(settings, None, on_event) as services:
        yield _open_store(settings, services)


@contextmanager
def _services(
    settings: Settings, trainer_url: str | None, on_event: Listener
) -> Iterator[Services | None]:
    """Start the embedded services if the store or the trainer is one of them."""
    if EMBEDDED not in (settings.store.url, trainer_url):
        yield None
        return
    with use_services(home_folder(), embedded_options(settings), on_event) as services:
        yield services


def embedded_options(settings: Settings) -> EmbeddedOptions:
    """Return how the embedded services are to run."""
    return EmbeddedOptions(**settings.embedded.model_dump())


def _open_store(settings: Settings, services: Services | None) -> S3Store:
    wanted = settings.store
    if wanted.url != EMBEDDED or services is None:
        return S3Store(
            StoreAccess.from_url(
                wanted.url,
                endpoint_url=wanted.endpoint_url,
                region=wanted.region,
                profile=wanted.profile,
            )
        )
    return S3Store(
        StoreAccess(
            bucket=services.store_bucket,
            endpoint_url=services.store_endpoint_url,
            region=services.store_region,
            access_key=services.store_access_key,
            secret_key=services.store_secret_key,
        )
    )


def _open_trainer(settings: Settings, choice: Choice, services: Services | None) -> TrainerClient:
    wanted = settings.trainer
    if choice.trainer_url == EMBEDDED and services is not None:
        url, key = services.trainer_url, services.trainer_key
    else:
        url = choice.trainer_url
        key = wanted.api_key.get_secret_value() if wanted.api_key else ""
    return TrainerClient(
        url,
        key,
        connect_timeout_s=wanted.connect_timeout_s,
        read_timeout_s=wanted.read_timeout_s,
        submit_timeout_s=wanted.submit_timeout_s,
    )
