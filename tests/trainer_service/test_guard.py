"""Off loopback: which addresses are asked, that the checked one is used, and at every redirect."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lora_prep.guard import Guard, is_public
from lora_prep.trainer_service import dataset
from lora_prep.trainer_service.options import ServiceOptions
from lora_prep.trainer_service.protocol import TaskCode, TaskError

from .conftest import running_service
from .helpers import KEY, SUBMIT, DataServer, StartService, zip_of_images

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
TIMEOUTS = httpx.Timeout(5)


def addresses(*texts: str) -> list[Address]:
    return [ipaddress.ip_address(text) for text in texts]


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
        "100.64.0.1", "198.18.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1",
        "fd00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1",
        "2002:7f00:1::", "2001:db8::1",
    ],
)  # fmt: skip
def test_private_addresses_are_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_the_internet_is(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


class Names:
    """A name server of the test: each name has its answers in turn, the last for ever."""

    def __init__(self, **answers: list[list[Address]]) -> None:
        self._answers = answers
        self.asked: list[str] = []

    def __call__(self, host: str) -> list[Address]:
        self.asked.append(host)
        if host not in self._answers:
            raise OSError("unknown")
        answers = self._answers[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def guard(names: Names, allowed: str = "127.0.0.1") -> Guard:
    def only(address: Address) -> bool:
        return str(address) == allowed

    return Guard(closed=True, look_up=names, allowed=only)


def fetch(url: str, folder: Path, names: Names) -> bytes:
    with dataset.fetch(url, folder, guard(names), threading.Event()) as file:
        return file.read()


@pytest.fixture
def port(data_server: DataServer) -> str:
    data_server.url(b"PK zip", "/a.zip")
    return data_server.origin.rpartition(":")[2]


@pytest.mark.slow
def test_a_name_is_looked_up_once_and_the_checked_address_is_asked(
    port: str, tmp_path: Path
) -> None:
    names = Names(rebinding=[addresses("127.0.0.1"), addresses("127.0.0.2")])
    assert fetch(f"http://rebinding:{port}/a.zip", tmp_path, names) == b"PK zip"
    assert names.asked == ["rebinding"]


@pytest.mark.slow
def test_a_name_with_one_private_address_is_refused(port: str, tmp_path: Path) -> None:
    names = Names(mixed=[addresses("127.0.0.1", "10.0.0.1")])
    with pytest.raises(TaskError, match="private network") as caught:
        fetch(f"http://mixed:{port}/a.zip?X-Amz-Signature=topsecret", tmp_path, names)
    assert caught.value.code == TaskCode.DATA_NOT_FETCHED
    assert "topsecret" not in caught.value.sentence


@pytest.mark.slow
@pytest.mark.parametrize("target", ["http://inside:{port}/a.zip", "http://127.0.0.2:{port}/a.zip"])
def test_a_redirect_is_checked_too(
    port: str, data_server: DataServer, tmp_path: Path, target: str
) -> None:
    data_server.redirects["/old"] = target.format(port=port)
    names = Names(
        outside=[addresses("127.0.0.1")],
        inside=[addresses("10.0.0.1")],
        **{"127.0.0.2": [addresses("127.0.0.2")]},
    )
    with pytest.raises(TaskError, match="private network"):
        fetch(f"http://outside:{port}/old", tmp_path, names)
    data_server.redirects["/old"] = f"http://other:{port}/a.zip"
    names = Names(outside=[addresses("127.0.0.1")], other=[addresses("127.0.0.1")])
    assert fetch(f"http://outside:{port}/old", tmp_path, names) == b"PK zip"
    assert names.asked == ["outside", "other"]


@pytest.mark.slow
def test_the_next_address_is_tried(port: str) -> None:
    names = Names(two=[addresses("::1", "127.0.0.1")])
    loopback = Guard(closed=True, look_up=names, allowed=lambda address: address.is_loopback)
    url = f"http://two:{port}/a.zip"
    with loopback.client(url, TIMEOUTS) as client:
        assert client.get(url).content == b"PK zip"


def certificate(host: str, path: Path) -> Path:
    """Write a key and a certificate that only `host` may show."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2120, 1, 1, tzinfo=UTC))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), False)
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + builder.sign(key, hashes.SHA256()).public_bytes(pem))
    return path


@pytest.mark.slow
def test_https_is_checked_against_the_name_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate("bucket.test", tmp_path / "certificate.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    asked: list[str | None] = []
    context.sni_callback = lambda connection, name, context: asked.append(name)
    server = DataServer(tls=context)
    server.url(b"PK zip", "/a.zip")
    port = server.origin.rpartition(":")[2]
    here = [addresses("127.0.0.1")]
    names = Names(**{"bucket.test": here, "other.test": here})
    try:
        assert fetch(f"https://bucket.test:{port}/a.zip", tmp_path, names) == b"PK zip"
        with pytest.raises(TaskError, match="ConnectError"):
            fetch(f"https://other.test:{port}/a.zip", tmp_path, names)
    finally:
        server.close()
    assert set(asked) == {"bucket.test", "other.test"}


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    names = Names(inside=[addresses("10.0.0.1")])
    with guard(names).client("http://inside/", TIMEOUTS) as client:
        with pytest.raises(httpx.TransportError, match="private"):
            client.get("http://inside/")


@pytest.mark.slow
def test_a_closed_service_refuses_what_leads_inside(tmp_path: Path) -> None:
    names = Names(inside=[addresses("10.0.0.1")], outside=[addresses("127.0.0.1")])
    options = ServiceOptions(api_keys=(KEY,), closed=True)
    closed = guard(names)
    with running_service(tmp_path, options=options, guard=closed) as service:
        api = service.api
        for parameters, webhook, word in (
            ({"data": "http://inside/a.zip"}, "", "data"),
            ({"data": "http://outside/a.zip"}, "https://inside/hook", "webhook"),
            ({"data": "http://outside/a.zip"}, "http://outside/hook", "webhook must be an https"),
        ):
            query = {"webhook": webhook} if webhook else {}
            answer = api.http.post(SUBMIT, params=query, json=parameters)
            assert (answer.status_code, answer.json()["error_code"]) == (400, "1401")
            assert word in answer.json()["message"]

        content = zip_of_images(10)
        ticket = api.post("media/uploads", filename="a.zip", size=len(content))
        upload = ticket["upload"]
        httpx.put(upload["url"], content=content, headers=upload["headers"], trust_env=False)
        assert api.train(ticket["download_url"])["status"] == "completed"  # its own upload


@pytest.mark.slow
@pytest.mark.parametrize("url", ["http://127.0.0.1:9/a.zip", "http://localhost/", "http://[::1]/"])
def test_a_service_off_loopback_is_closed(start_service: StartService, url: str) -> None:
    api = start_service("--host", "0.0.0.0", "--seconds=0").api()
    api.http.base_url = api.base_url.replace("0.0.0.0", "127.0.0.1")
    answer = api.http.post(SUBMIT, json={"data": url})
    assert answer.status_code == 400
    assert "private network" in answer.json()["message"]
