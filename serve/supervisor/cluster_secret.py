"""The secret of a cluster.

Every machine derives the same keys from it, and makes certificates that the other machines accept. The certificate
authority's key is derived from the secret, so a machine with the secret makes its own certificate and need not ask
another machine. A compromised secret must be replaced on all machines.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from schemas.errors import Conflict, InvalidParameter
from serve.supervisor.own_folders import open_to_others, write_private

_LEAST_CHARS: Final = 32
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order of the group of NIST P-256 (SEC 2, section 2.4.2)."""
_FROM: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_TO: Final = dt.datetime(2120, 1, 1, tzinfo=dt.UTC)
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class NodeCertificate:
    """Certificate files of one machine, in PEM, readable by this user only. ``pair``: certificate and key in one file."""

    authority: Path
    certificate: Path
    key: Path
    pair: Path


class ClusterSecret:
    """A secret of at least 32 characters."""

    def __init__(self, value: str) -> None:
        self._value = value.encode()

    @classmethod
    def read(cls, path: Path) -> ClusterSecret:
        """The secret in a file. Raises InvalidParameter if there is none, Conflict if others can read the file."""
        try:
            value = path.read_text().strip()
        except OSError as error:
            raise InvalidParameter(
                f"no cluster secret in {path} ({error.strerror}); copy it from the head, where it is HOME/keys/cluster",
                param="FLUXIONS_CLUSTER_SECRET_FILE",
            ) from None
        if open_to_others(path):
            raise Conflict(f"{path} can be read by other users; `chmod 600` it", code="open_secret")
        if len(value) < _LEAST_CHARS:
            raise InvalidParameter(f"the secret in {path} is shorter than {_LEAST_CHARS} characters")
        return cls(value)

    @classmethod
    def ensure(cls, path: Path) -> ClusterSecret:
        """The secret in a file, which is created with a random one if it does not exist."""
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_private(path, secrets.token_urlsafe(48).encode())
        return cls.read(path)

    def derived(self, purpose: str, length: int = 32) -> bytes:
        """``length`` bytes for one purpose (HKDF with SHA-256, RFC 5869)."""
        return HKDF(SHA256(), length, salt=None, info=f"fluxions {purpose}".encode()).derive(self._value)

    def key(self, purpose: str) -> str:
        """A key as text for one purpose."""
        return self.derived(purpose).hex()

    def certify(self, folder: Path, address: str) -> NodeCertificate:
        """Make the certificate of the machine with this IP address, for servers and clients, in ``folder``."""
        authority_key = ec.derive_private_key(
            int.from_bytes(self.derived("certificate authority", 48)) % (_ORDER - 1) + 1, ec.SECP256R1()
        )
        name = _name(f"fluxions cluster {self.derived('name', 8).hex()}")
        authority = (
            _certificate(name, name, authority_key, _FROM, _TO)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(authority_key, SHA256())
        )
        key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
        # Validity starts early because clocks differ. A machine must be restarted before its certificate expires.
        certificate = (
            _certificate(_name(address), name, key, now - _DAY, now + 3650 * _DAY)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_names(address), critical=False)
            .sign(authority_key, SHA256())
        )
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        files = NodeCertificate(folder / "ca.pem", folder / "node.pem", folder / "node.key", folder / "pair.pem")
        public = certificate.public_bytes(Encoding.PEM)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        write_private(files.authority, authority.public_bytes(Encoding.PEM))
        write_private(files.certificate, public)
        write_private(files.key, private)
        write_private(files.pair, public + private)
        return files


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _names(address: str) -> x509.SubjectAlternativeName:
    addresses = [ipaddress.ip_address(address), ipaddress.ip_address("127.0.0.1")]
    return x509.SubjectAlternativeName([x509.DNSName("localhost"), *map(x509.IPAddress, addresses)])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, start: dt.datetime, end: dt.datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(end)
    )
