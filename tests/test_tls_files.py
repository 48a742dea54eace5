"""Keys and certificates that cannot be used: the file, the reason and the remedy."""

import datetime as dt
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa, x25519
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    pkcs7,
    pkcs12,
)
from cryptography.x509.oid import NameOID

import fastwsh
from conftest import StartServer, run_fastwsh
from fastwsh import ConnectArgumentError
from fastwsh.config_error import ConfigError
from fastwsh.testing import TlsFiles, running_server
from tls_support import authority

__all__ = ["authority"]

GOOD = ec.generate_private_key(ec.SECP256R1())
OTHER = ec.generate_private_key(ec.SECP256R1())
NEW_KEY = "can be used: make one, for example with"
CLEAR = NoEncryption()
SECRET = BestAvailableEncryption(b"x")


def pem(key, form: PrivateFormat, encryption: KeySerializationEncryption = CLEAR) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, form, encryption)
    return data


def certify(key, name: str = "localhost") -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + dt.timedelta(days=36500))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, SHA256())
    )


CERTIFICATE = certify(GOOD)
CERTIFICATE_PEM = CERTIFICATE.public_bytes(Encoding.PEM)
OTHER_PEM = certify(OTHER, "other").public_bytes(Encoding.PEM)
GOOD_PEM = pem(GOOD, PrivateFormat.PKCS8)
PKCS12 = pkcs12.serialize_key_and_certificates(b"x", GOOD, CERTIFICATE, None, SECRET)
REQUEST = (
    x509.CertificateSigningRequestBuilder()
    .subject_name(CERTIFICATE.subject)
    .sign(GOOD, SHA256())
    .public_bytes(Encoding.PEM)
)
DAMAGED = b"".join(line for line in GOOD_PEM.splitlines(keepends=True) if b"END" not in line)


def rsa_key(bits: int, exponent: int = 65537) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(exponent, bits)


# what makes the file of the key, and what the sentence says
KEYS: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "damaged_label": (
        lambda: GOOD_PEM.replace(b"KEY-----", b"KEYO----", 1),
        ["name a PEM file"],
    ),
    "rsa_1024": (
        lambda: pem(rsa_key(1024), PrivateFormat.PKCS8),
        ["it is an RSA key of 1024 bits", NEW_KEY],
    ),
    "rsa_1024_pkcs1": (
        lambda: pem(rsa_key(1024), PrivateFormat.TraditionalOpenSSL),
        ["it is an RSA key of 1024 bits", NEW_KEY],
    ),
    "rsa_exponent": (
        lambda: pem(rsa_key(2048, 3), PrivateFormat.PKCS8),
        ["public exponent below 65537", NEW_KEY],
    ),
    "p521": (
        lambda: pem(ec.generate_private_key(ec.SECP521R1()), PrivateFormat.PKCS8),
        ["it is an EC key on the curve P-521 (secp521r1)", NEW_KEY],
    ),
    "p521_sec1": (
        lambda: pem(ec.generate_private_key(ec.SECP521R1()), PrivateFormat.TraditionalOpenSSL),
        ["it is an EC key on the curve P-521 (secp521r1)", NEW_KEY],
    ),
    "secp256k1": (
        lambda: pem(ec.generate_private_key(ec.SECP256K1()), PrivateFormat.PKCS8),
        ["on the curve secp256k1", NEW_KEY],
    ),
    "brainpool": (
        lambda: pem(ec.generate_private_key(ec.BrainpoolP256R1()), PrivateFormat.PKCS8),
        ["on the curve brainpoolP256r1", NEW_KEY],
    ),
    "dsa": (
        lambda: pem(dsa.generate_private_key(1024), PrivateFormat.PKCS8),
        ["it is a DSA key", NEW_KEY],
    ),
    "dsa_traditional": (
        lambda: pem(dsa.generate_private_key(1024), PrivateFormat.TraditionalOpenSSL),
        ["it has a DSA key", NEW_KEY],
    ),
    "ed448": (
        lambda: pem(ed448.Ed448PrivateKey.generate(), PrivateFormat.PKCS8),
        ["it is an Ed448 key", NEW_KEY],
    ),
    "x25519": (
        lambda: pem(x25519.X25519PrivateKey.generate(), PrivateFormat.PKCS8),
        ["signs nothing", NEW_KEY],
    ),
    "openssh": (
        lambda: pem(ed25519.Ed25519PrivateKey.generate(), PrivateFormat.OpenSSH),
        ["a key of OpenSSH", "genpkey"],
    ),
    "encrypted": (
        lambda: pem(GOOD, PrivateFormat.PKCS8, SECRET),
        ["is encrypted", '"openssl pkey -in '],
    ),
    "encrypted_traditional": (
        lambda: pem(GOOD, PrivateFormat.TraditionalOpenSSL, SECRET),
        ["is encrypted", '"openssl pkey -in '],
    ),
    "der": (
        lambda: GOOD.private_bytes(Encoding.DER, PrivateFormat.PKCS8, CLEAR),
        ["a private key in DER", '"openssl pkey -inform DER -in '],
    ),
    "der_encrypted": (
        lambda: GOOD.private_bytes(Encoding.DER, PrivateFormat.PKCS8, SECRET),
        ["a private key in DER", '"openssl pkey -inform DER -in '],
    ),
    "pkcs12": (lambda: PKCS12, ["a PKCS#12 file", '"openssl pkcs12 -in ']),
    "public": (
        lambda: GOOD.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        ["it has a public key"],
    ),
    "certificate": (lambda: CERTIFICATE_PEM, ["it has a certificate; name the file with its key"]),
    "empty": (lambda: b"", ["the file is empty", "-----BEGIN PRIVATE KEY-----"]),
    "text": (lambda: b"none", ["-----BEGIN PRIVATE KEY-----"]),
    "damaged": (lambda: DAMAGED, ["copy the file anew"]),
    "no_der": (
        lambda: b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        ["it is damaged; copy the file anew"],
    ),
    "other": (
        lambda: pem(OTHER, PrivateFormat.PKCS8),
        ["does not belong to the certificate; name the key that"],
    ),
}

CERTIFICATES: dict[str, tuple[Callable[[], bytes], list[str]]] = {
    "der": (
        lambda: CERTIFICATE.public_bytes(Encoding.DER),
        ["a certificate in DER", '"openssl x509 -inform DER -in '],
    ),
    "pkcs12": (lambda: PKCS12, ["a PKCS#12 file", '"openssl pkcs12 -in ']),
    "pkcs7": (
        lambda: pkcs7.serialize_certificates([CERTIFICATE], Encoding.PEM),
        ["a PKCS#7 file", '"openssl pkcs7 -print_certs -in '],
    ),
    "pkcs7_der": (
        lambda: pkcs7.serialize_certificates([CERTIFICATE], Encoding.DER),
        ["a PKCS#7 file", '"openssl pkcs7 -print_certs -inform DER -in '],
    ),
    "request": (lambda: REQUEST, ["a request for a certificate; name"]),
    "trusted": (
        lambda: CERTIFICATE_PEM.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"),
        ['"openssl x509 -in '],
    ),
    "key": (lambda: GOOD_PEM, ["it has a private key; name the file with the certificate"]),
    "utf_16": (lambda: CERTIFICATE_PEM.decode().encode("utf-16"), ["UTF-16; save it as plain"]),
    "byte_order_mark": (lambda: b"\xef\xbb\xbf" + CERTIFICATE_PEM, ["nothing before the dashes"]),
    "indented": (
        lambda: CERTIFICATE_PEM.replace(b"-----BEGIN", b"  -----BEGIN"),
        ["nothing before the dashes"],
    ),
    "base64": (lambda: CERTIFICATE_PEM.replace(b"MII", b"M*I"), ["copy the file anew"]),
    "cut_off": (lambda: CERTIFICATE_PEM[:-40], ["copy the file anew"]),
    "empty": (lambda: b"", ["the file is empty", "-----BEGIN CERTIFICATE-----"]),
    "wrong_order": (
        lambda: OTHER_PEM + CERTIFICATE_PEM,
        ["does not belong to the certificate; it belongs to a later one: put that one first"],
    ),
    "no_der": (
        lambda: b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ["is not encoded correctly; get another one"],
    ),
}


def start(folder: Path, key: bytes, certificate: bytes, *options: str) -> str:
    """Start a server, which must fail; return its sentence."""
    (folder / "key.pem").write_bytes(key)
    (folder / "cert.pem").write_bytes(certificate)
    files = "-t", "-k", str(folder / "key.pem"), "-c", str(folder / "cert.pem")
    done = run_fastwsh("-w", ".", "-H", "127.0.0.1", "-p", "0", *files, *options, cwd=folder)
    assert done.returncode == 1
    assert done.stderr.startswith("fastwsh: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


@pytest.mark.parametrize("name", KEYS)
def test_key_that_cannot_be_used(name: str, tmp_path: Path):
    make, parts = KEYS[name]
    said = start(tmp_path, make(), CERTIFICATE_PEM)
    assert f"{tmp_path}/key.pem" in said
    for part in parts:
        assert part in said


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificate_that_cannot_be_used(name: str, tmp_path: Path):
    make, parts = CERTIFICATES[name]
    said = start(tmp_path, GOOD_PEM, make())
    assert f"{tmp_path}/cert.pem" in said
    for part in parts:
        assert part in said


def test_pipe_is_refused(tmp_path: Path):
    """It could be read once, and nothing would be left for a renewal."""
    (tmp_path / "cert.pem").write_bytes(CERTIFICATE_PEM)
    os.mkfifo(tmp_path / "pipe")
    files = "-t", "-k", str(tmp_path / "pipe"), "-c", str(tmp_path / "cert.pem")
    done = run_fastwsh("-w", ".", "-H", "127.0.0.1", "-p", "0", *files, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"fastwsh: cannot use the private key '{tmp_path}/pipe' (it is no regular file); save it "
        "in one, and name that with --private-key\n"
    )


def test_http3_says_the_same(tmp_path: Path):
    pytest.importorskip("aioquic")
    make, parts = KEYS["der"]
    said = start(tmp_path, make(), CERTIFICATE_PEM, "--http3")
    assert all(part in said for part in parts)


def test_files_that_have_more_are_used(tmp_path: Path):
    """A key before the certificate, a certificate before the key, and text between them."""
    both = tmp_path / "both.pem"
    for text in (GOOD_PEM + b"text\n" + CERTIFICATE_PEM, CERTIFICATE_PEM + GOOD_PEM):
        both.write_bytes(text)
        with running_server(tls=TlsFiles(both, both, authority=both)):
            pass


def test_test_server_and_client_say_the_same(tmp_path: Path):
    make, parts = KEYS["p521"]
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    key.write_bytes(make())
    certificate.write_bytes(CERTIFICATE_PEM)
    with pytest.raises(ConfigError) as raised, running_server(tls=TlsFiles(certificate, key)):
        pass
    assert all(part in str(raised.value) for part in parts)
    with pytest.raises(ConnectArgumentError) as refused:
        fastwsh.connect("wss://localhost:1/", certificate=certificate, private_key=key)
    assert all(part in str(refused.value) for part in parts)


def write_chain(leaf: trustme.LeafCert, path: Path) -> None:
    """Write a key and its certificate into one file."""
    leaf.private_key_and_cert_chain_pem.write_to_path(str(path))


def test_expired_certificate_is_told(
    start_server: StartServer, authority: trustme.CA, tmp_path: Path
):
    path = tmp_path / "cert.pem"
    write_chain(
        authority.issue_cert("127.0.0.1", not_after=dt.datetime(2020, 2, 29, tzinfo=dt.UTC)), path
    )
    server = start_server("--tls", "--private-key", "cert.pem", "-c", "cert.pem")
    server.log.wait_for(
        rf"\[WARNING\] fastwsh\.server: The certificate {path} has expired on Sat, 29 Feb 2020 "
        "00:00:00 GMT, so clients will refuse it; "
    )
    write_chain(authority.issue_cert("127.0.0.1"), path)
    server.send_signal(signal.SIGHUP)
    server.log.wait_for("Certificates reloaded")
    assert len([line for line in server.log.lines if "The certificate " in line]) == 1
    future = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
    write_chain(
        authority.issue_cert("127.0.0.1", not_before=future, not_after=future + dt.timedelta(1)),
        path,
    )
    server.send_signal(signal.SIGHUP)
    server.log.wait_for(
        rf"The certificate {path} is not valid yet, but from Tue, 01 Jan 2999 00:00:00 GMT, so "
    )
