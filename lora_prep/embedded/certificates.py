"""The certificate that closes SeaweedFS's gRPC ports: made once per home, known to nobody else.

Those ports know no keys. Without a client certificate to ask for, the filer's told any account of
this machine the name and file id of every photo, the master's HTTP port gave a read token for the
id, and the volume's port gave the bytes for the token (found with `weed shell`, in an empty folder,
and curl; `tests/embedded/test_strangers.py` repeats it).

One self-signed certificate is authority, server and client at once: both ends are the same process.
"""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

from lora_prep.embedded.folder import ServicesFolder, write_private

__all__ = ["settle_certificate"]

# RFC 5280, 4.1.2.5: the end that means "none". Fixed, so that no wrong clock can close a home.
_FROM, _UNTIL = datetime(2000, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


def settle_certificate(folder: ServicesFolder) -> Path:
    """Return a file with key and certificate (PEM): the remembered one, or else a new one."""
    path = folder.path / "certificate.pem"
    # Looked at each time: with a file that it cannot read SeaweedFS would serve anybody.
    if not _is_whole(path):
        write_private(path, _new_certificate())
    return path


def _is_whole(path: Path) -> bool:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path)
    except OSError:  # of which an SSLError is one
        return False
    return True


def _new_certificate() -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "lora-prep")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(_FROM).not_valid_after(_UNTIL)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return (private + builder.sign(key, hashes.SHA256()).public_bytes(pem)).decode("ascii")
