"""Another account of this machine, with SeaweedFS's own tools and no credentials.

It sees every port of loopback, but nothing below the home. Before the certificate and
`-disableHttp` it got the names (`weed shell`), the bytes (file id, token, volume port) and could
delete the whole bucket with one GET.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from lora_prep.embedded import Services, stop_services, use_services
from lora_prep.embedded.certificates import settle_certificate
from lora_prep.embedded.folder import ServicesFolder
from lora_prep.embedded.seaweedfs import _ROLES, _sockets, program
from lora_prep.embedded.wiring import GRPC_OFFSET, LOOPBACK
from tests.embedded.helpers import WEED, get, put, wiring_of

pytestmark = pytest.mark.slow

NAME, FACE = "anna-at-the-lake.jpg", b"the bytes of a face " * 50
KEY = f"photos/{NAME}"
ROLES = ("master", "volume", "filer", "s3", "admin")
# HTTP/2's greeting, which opens every gRPC connection; the answer begins with a SETTINGS frame.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Services]]:
    home = tmp_path_factory.mktemp("home")
    with use_services(home, WEED) as services:
        put(services, KEY, FACE)
        yield home, services
    stop_services(home)


@pytest.fixture(params=["with nothing", "with a certificate of its own"])
def stranger(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The folder a stranger's tools run in."""
    folder = ServicesFolder.make(tmp_path)
    if request.param != "with nothing":
        certificate = settle_certificate(folder).name
        pair = f'cert = "{certificate}"\nkey = "{certificate}"\n'
        security = f'[grpc]\nca = "{certificate}"\n[grpc.client]\n{pair}'
        (folder.path / "security.toml").write_text(security)
    return folder.path


def test_seaweedfs_own_tools_show_a_stranger_nothing(
    running: tuple[Path, Services], stranger: Path
) -> None:
    home, _ = running
    # The same words from inside show everything: were they wrong, the rest would prove nothing.
    assert NAME in shell(home / "services", home)
    said = shell(stranger, home)
    said += weed(stranger, "filer.meta.tail", f"-filer={address(home, 'filer')}", "-timeAgo=1h")
    assert NAME not in said
    assert FACE.decode() not in said


def test_no_grpc_port_greets_a_stranger(running: tuple[Path, Services], tmp_path: Path) -> None:
    home, _ = running
    ours = tls(settle_certificate(ServicesFolder(home / "services")))
    foreign = tls(settle_certificate(ServicesFolder.make(tmp_path)))
    ports = {role: port_of(home, role) + GRPC_OFFSET for role in ROLES}
    assert [role for role in ROLES if greets(ports[role], ours)] == list(ROLES)
    for context in (None, tls(None), foreign):
        assert [role for role in ROLES if greets(ports[role], context)] == []


def test_no_http_port_hands_a_stranger_names_tokens_or_bytes(
    running: tuple[Path, Services],
) -> None:
    home, _ = running
    file = file_id(home)  # as if it had been found out
    paths = [
        *("/", "/ui/index.html", "/status", "/cluster/status", "/dir/status", "/vol/status"),
        *("/dir/lookup?volumeId=1", "/dir/assign?collection=lora-prep", "/metrics", "/healthz"),
        *(f"/dir/lookup?fileId={file}&read=yes", f"/dir/lookup?fileId={file}", f"/{file}"),
        *(f"/?proxyChunkId={file}", "/?limit=9", "/buckets/?pretty=y", "/.tus/", "/.tus/buckets/"),
        *("/buckets/lora-prep/", f"/buckets/lora-prep/{KEY}", f"/buckets/lora-prep/{KEY}?metadata"),
        *("/lora-prep", f"/lora-prep/{KEY}", "/lora-prep?list-type=2", "/api/files", "/health"),
    ]
    for role in ROLES:
        for path in paths:
            status, headers, body = ask(home, role, "GET", path)
            # A token for the file id is all that the volume's port asks for.
            assert "authorization" not in headers, f"{role}{path} gave a token"
            if NAME not in path:  # S3 repeats what it was asked for
                assert NAME.encode() not in body, f"{role}{path} gave the name ({status})"
            assert FACE[:20] not in body, f"{role}{path} gave the bytes ({status})"


def test_a_stranger_can_neither_add_nor_destroy(running: tuple[Path, Services]) -> None:
    home, services = running
    file = file_id(home)
    for path in ("/col/delete?collection=lora-prep", "/submit", "/vol/grow?count=1", "/vol/vacuum"):
        for method in ("GET", "POST"):
            assert ask(home, "master", method, path)[0] == 404
    for role, path in (("volume", f"/{file}"), ("filer", f"/buckets/lora-prep/{KEY}")):
        for method in ("PUT", "POST", "DELETE"):
            assert ask(home, role, method, path)[0] in (401, 404)
    assert get(services, KEY) == FACE


def test_s3_does_not_tell_a_stranger_which_keys_exist(running: tuple[Path, Services]) -> None:
    home, _ = running
    answers = {ask(home, "s3", "HEAD", f"/lora-prep/photos/{name}")[0] for name in (NAME, "none")}
    assert answers == {403}


def test_the_sockets_outside_the_home_are_closed_too(running: tuple[Path, Services]) -> None:
    home, _ = running
    sockets = [path for path in _sockets(wiring_of(home)) if path.exists()]
    assert len(sockets) == len(_ROLES) + 2
    assert not [path for path in sockets if path.stat().st_mode & 0o077]


@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_home_without_a_whole_certificate_gets_one_at_its_next_start(
    tmp_path: Path, damage: str
) -> None:
    """With one that it cannot read SeaweedFS would start and serve anybody."""
    folder = ServicesFolder.make(tmp_path)
    path = settle_certificate(folder)
    first = path.read_text()
    assert settle_certificate(folder).read_text() == first
    match damage:
        case "missing":
            path.unlink()
        case "empty":
            path.write_text("")
        case _:
            path.write_text(first[:-100])
    assert settle_certificate(folder).read_text() != first
    tls(path)
    assert path.stat().st_mode & 0o777 == 0o600


def port_of(home: Path, role: str) -> int:
    port: int = asdict(wiring_of(home).ports)[role]
    return port


def address(home: Path, role: str) -> str:
    port = port_of(home, role)
    return f"{LOOPBACK}:{port}.{port + GRPC_OFFSET}"


def shell(folder: Path, home: Path) -> str:
    """List and describe the object with `weed shell`, run in `folder`."""
    servers = (f"-{role}={address(home, role)}" for role in ("master", "filer"))
    path = f"/buckets/lora-prep/{KEY}"
    words = f"fs.ls {path}\nfs.meta.cat {path}\nfs.cat {path}\nvolume.list\n"
    return weed(folder, "shell", *servers, words=words)


def weed(folder: Path, *arguments: str, words: str = "") -> str:
    """Run a `weed` command in `folder` for some seconds; return all that it says."""
    command = [str(program()), *arguments]
    environment = {"HOME": str(folder), "TMPDIR": str(folder)}
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            return process.communicate(words, timeout=5)[0]
        except subprocess.TimeoutExpired:  # it tries again and again
            process.kill()
            return process.communicate()[0]


def file_id(home: Path) -> str:
    """Return where the object's bytes lie, which only an insider can find out."""
    found = re.search(r'"fileId":\s*"([^"]+)"', shell(home / "services", home))
    assert found
    return found[1]


def tls(certificate: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    if certificate:
        context.load_cert_chain(certificate)
    return context


def greets(port: int, context: ssl.SSLContext | None) -> bool:
    """Whether a gRPC server talks to us; without a context in plain text."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5) as plain:
            connection = context.wrap_socket(plain) if context else plain
            with connection:
                connection.sendall(GREETING)
                return connection.recv(9)[3:4] == b"\x04"
    except (ssl.SSLError, ConnectionError):
        return False


def ask(home: Path, role: str, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    """Send a request without credentials."""
    connection = http.client.HTTPConnection(LOOPBACK, port_of(home, role), timeout=5)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, answer.read()
    finally:
        connection.close()
