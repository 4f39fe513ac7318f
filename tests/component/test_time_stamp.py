"""Time stamps by a small RFC 3161 authority on this machine: OpenSSL answers, over HTTP on the loopback address."""

from __future__ import annotations

import datetime as dt
import shutil
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import c2pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from provenance_outputs import TARGET, grants

from intracoder.errors import ConfigError, ProvenanceError
from intracoder.provenance import signing_keys
from intracoder.provenance.credentials import C2paSigner, CredentialsState, read_credentials
from intracoder.provenance.manifest import OutputFacts, manifest_json
from intracoder.provenance.verify import verify_file

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="OpenSSL's command is not installed")

CONFIG = """[tsa]
serial = {folder}/serial
default_policy = 1.2.3.4
other_policies = 1.2.3.4
digests = sha256, sha384, sha512
signer_digest = sha256
ess_cert_id_alg = sha256
"""


class Authority:
    """Its key, its certificates, and how it answers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.query_count = 0
        self.answers_nonsense = False
        root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        root = self._certificate("root", root_key, root_key, is_authority=True)
        leaf = self._certificate("leaf", key, root_key, is_authority=False)
        self.root_pem = root.public_bytes(serialization.Encoding.PEM).decode()
        form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        for name, data in (
            ("key.pem", key.private_bytes(serialization.Encoding.PEM, form, plain)),
            ("leaf.pem", leaf.public_bytes(serialization.Encoding.PEM)),
            ("root.pem", self.root_pem.encode()),
            ("serial", b"01\n"),
            ("tsa.cnf", CONFIG.format(folder=folder).encode()),
        ):
            (folder / name).write_bytes(data)

    @staticmethod
    def _certificate(
        name: str, key: ec.EllipticCurvePrivateKey, issuer: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> x509.Certificate:
        names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test authority {n}")]) for n in (name, "root")]
        begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=2)
        usage = signing_keys._key_usage(is_authority=is_authority)
        made = (
            signing_keys._certificate(*names, key.public_key(), begin, begin + dt.timedelta(days=900))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False)
        )
        if not is_authority:
            made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
        return made.sign(issuer, hashes.SHA256())

    def answer(self, query: bytes) -> bytes:
        self.query_count += 1
        if self.answers_nonsense:
            return b"no time stamp"
        (self.folder / "query").write_bytes(query)
        command = "openssl ts -reply -config tsa.cnf -section tsa -queryfile query -signer leaf.pem -chain root.pem"
        subprocess.run(
            [*command.split(), "-inkey", "key.pem", "-out", "reply"], cwd=self.folder, check=True, capture_output=True
        )
        return (self.folder / "reply").read_bytes()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Authority]:
    for name in (signing_keys.CERT_VARIABLE, signing_keys.KEY_VARIABLE, signing_keys.SIGNER_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    (tmp_path / "tsa").mkdir()
    made = Authority(tmp_path / "tsa")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.headers["Content-Type"] == "application/timestamp-query"
            reply = made.answer(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv(signing_keys.TSA_VARIABLE, f"http://127.0.0.1:{server.server_port}/stamp")
        yield made
        server.shutdown()
        thread.join()


def sign(out: Path, identity: signing_keys.SigningIdentity | None = None) -> Path:
    facts = OutputFacts(
        record_id=uuid.UUID(int=1),
        grants=grants(),
        model_sha256="0" * 64,
        package_version="0.1.0",
        is_still=False,
        label="badge",
        disclosure="",
    )
    signer = C2paSigner(target=TARGET, identity=identity or signing_keys.signing_identity())
    signer.sign(TARGET, out, manifest=manifest_json(facts))
    return out


def state_where_trusted(path: Path, root_pem: str) -> tuple[str, list[str]]:
    """What a reader says that trusts the time-stamp authority."""
    settings = {"trust": {"user_anchors": root_pem}}
    with (
        path.open("rb") as file,
        c2pa.Context.from_dict(settings) as context,
        c2pa.Reader("video/mp4", file, context=context) as reader,
    ):
        results = reader.get_validation_results()["activeManifest"]
        return str(reader.get_validation_state()), [f["code"] for f in results["success"]]


def test_a_signature_carries_the_authoritys_time(authority: Authority, tmp_path: Path) -> None:
    out = sign(tmp_path / "o.mp4")
    assert authority.query_count == 1
    reading = read_credentials(out)
    assert reading.state is CredentialsState.VALID
    assert reading.time_stamp is not None
    stated = dt.datetime.fromisoformat(reading.time_stamp)
    assert abs(dt.datetime.now(dt.UTC) - stated) < dt.timedelta(minutes=5)
    assert f"Time-stamped {reading.time_stamp}" in " ".join(verify_file(out).words)
    assert authority.query_count == 1, "reading asks nobody"
    state, passed = state_where_trusted(out, authority.root_pem)
    assert state == "Valid"
    assert {"timeStamp.validated", "timeStamp.trusted"} <= set(passed)


def test_without_an_authority_there_is_no_time(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(signing_keys.TSA_VARIABLE)
    assert read_credentials(sign(tmp_path / "o.mp4")).time_stamp is None
    assert authority.query_count == 0


def test_a_moved_time_shows(authority: Authority, tmp_path: Path) -> None:
    out = sign(tmp_path / "o.mp4")
    data = out.read_bytes()
    year = dt.datetime.now(dt.UTC).strftime("%Y%m").encode()
    assert data.count(year) >= 1
    out.write_bytes(data.replace(year, b"199901"))
    assert "timeStamp.validated" not in state_where_trusted(out, authority.root_pem)[1]
    assert read_credentials(out).time_stamp is None


def test_no_time_stamp_no_file(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority.answers_nonsense = True
    with pytest.raises(ProvenanceError, match="can't be written"):
        sign(tmp_path / "o.mp4")
    monkeypatch.setenv(signing_keys.TSA_VARIABLE, "http://127.0.0.1:9/nobody")
    with pytest.raises(ProvenanceError, match="can't be written"):
        sign(tmp_path / "o.mp4")
    assert not (tmp_path / "o.mp4").exists()
    monkeypatch.setenv(signing_keys.TSA_VARIABLE, "file:///etc/passwd")
    with pytest.raises(ConfigError, match="expected an http address"):
        sign(tmp_path / "o.mp4")


@pytest.mark.slow
def test_a_time_stamped_signature_outlives_its_certificate_for_who_trusts_the_authority(
    authority: Authority, tmp_path: Path
) -> None:
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1) + dt.timedelta(seconds=5)
    key, chain = signing_keys.make_chain(not_before=begin, days=1)
    for name, tsa_url in (("with.mp4", signing_keys.signing_identity().tsa_url), ("without.mp4", None)):
        identity = signing_keys.SigningIdentity(
            chain_pem=chain.decode(), key_pem=key.decode(), command=None, tsa_url=tsa_url, is_local=False
        )
        sign(tmp_path / name, identity)
    time.sleep(10)  # c2pa allows for clocks that differ by some seconds
    assert state_where_trusted(tmp_path / "with.mp4", authority.root_pem)[0] == "Valid"
    assert state_where_trusted(tmp_path / "without.mp4", authority.root_pem)[0] == "Invalid"
    for name in ("with.mp4", "without.mp4"):  # this tool knows no authorities of its own
        assert read_credentials(tmp_path / name).state is CredentialsState.SIGNER_INVALID
