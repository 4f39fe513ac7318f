"""Content Credentials: what is signed, who signs, and that every kind of tampering shows."""

from __future__ import annotations

import datetime as dt
import json
import mimetypes
import random
import shutil
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path

import c2pa
import cv2
import numpy as np
import pytest
from cryptography import x509
from provenance_outputs import DEMO, TARGET, grants, make_marker, reencode, write_clip, write_still

from intracoder.errors import ConfigError, ProvenanceError
from intracoder.provenance import signing_keys
from intracoder.provenance.credentials import C2paSigner, CredentialsState, is_ours, read_credentials
from intracoder.provenance.manifest import OutputFacts, manifest_json
from intracoder.provenance.verify import verify_file

NAMES = (signing_keys.CERT_VARIABLE, signing_keys.KEY_VARIABLE, signing_keys.SIGNER_VARIABLE, signing_keys.TSA_VARIABLE)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def facts() -> OutputFacts:
    return OutputFacts(
        record_id=uuid.UUID(int=1),
        grants=grants(),
        model_sha256="0" * 64,
        package_version="0.1.0",
        is_still=False,
        label="badge",
        disclosure="",
    )


@pytest.fixture
def signed(tmp_path: Path, facts: OutputFacts) -> Path:
    out = tmp_path / "signed.mp4"
    C2paSigner(target=TARGET).sign(DEMO / "source.mp4", out, manifest=manifest_json(facts))
    return out


def stored_manifest(path: Path) -> dict[str, object]:
    with path.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        store = json.loads(reader.json())
    return store["manifests"][store["active_manifest"]]


# What is in it


def test_manifest_says_what_was_done_and_no_more(signed: Path, facts: OutputFacts) -> None:
    reading = read_credentials(signed)
    assert reading.state is CredentialsState.VALID
    assert reading.is_own
    assert reading.is_ai
    assert is_ours(reading)
    assert reading.actions == ("c2pa.opened", "c2pa.placed", "c2pa.edited", "c2pa.watermarked.bound")
    assert reading.failures == ()
    assert reading.payload == facts.payload == b"\x01" + bytes(5)
    assert reading.consents == (("synthetic", facts.grants[0].record_sha256),)
    text = json.dumps(stored_manifest(signed))
    for word in ("source.mp4", "target.mp4", "thumbnail", "synthetic person", str(signed.parent)):
        assert word not in text
    for word in ("notAllowed", "compositeWithTrainedAlgorithmicMedia", "tilemark.v1", '"specVersion": "2.2.0"'):
        assert word in text


def test_default_readers_see_valid_and_exactly_one_objection(signed: Path) -> None:
    """Without our root as anchor the signer is unknown: that is the honest result everywhere else."""
    with signed.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        assert reader.get_validation_state() == "Valid"
        failures = [f["code"] for f in reader.get_validation_results()["activeManifest"]["failure"]]
    assert failures == ["signingCredential.untrusted"]


def test_disclosure_is_written_where_there_is_no_badge(tmp_path: Path) -> None:
    marker = make_marker(is_still=True, label="none", disclosure="in  the\nclosing credits")
    write_still(tmp_path / "u.png", marker)
    marker.finish(tmp_path / "u.png", tmp_path / "o.png")
    assert read_credentials(tmp_path / "o.png").disclosure == "in the closing credits"


def test_an_existing_manifest_is_kept_as_ingredient(tmp_path: Path, signed: Path, facts: OutputFacts) -> None:
    again = tmp_path / "again.mp4"
    C2paSigner(target=signed).sign(DEMO / "source.mp4", again, manifest=manifest_json(facts))
    reading = read_credentials(again)
    assert reading.state is CredentialsState.VALID
    assert reading.manifest_count == 2


@pytest.mark.parametrize("harm", [b"mdat", b"record_sha256", b"Intracoder"])
def test_a_tampered_manifest_of_the_target_is_kept_and_spoils_nothing(
    tmp_path: Path, signed: Path, facts: OutputFacts, harm: bytes
) -> None:
    target = flip(signed, signed.read_bytes().index(harm) + 20)
    assert read_credentials(target).state is CredentialsState.TAMPERED
    C2paSigner(target=target).sign(DEMO / "source.mp4", tmp_path / "again.mp4", manifest=manifest_json(facts))
    reading = read_credentials(tmp_path / "again.mp4")
    assert reading.state is CredentialsState.VALID
    assert reading.manifest_count == 2


@pytest.mark.parametrize("name", ["folder of pictures", "target.mkv"])
def test_targets_that_cannot_have_a_manifest(tmp_path: Path, facts: OutputFacts, name: str) -> None:
    target = tmp_path / name
    target.mkdir() if "." not in name else target.write_bytes(b"\x1a\x45\xdf\xa3")
    C2paSigner(target=target).sign(TARGET, tmp_path / "o.mp4", manifest=manifest_json(facts))
    assert read_credentials(tmp_path / "o.mp4").state is CredentialsState.VALID


@pytest.mark.parametrize("suffix", [".mov", ".png", ".jpg"])
def test_other_containers(tmp_path: Path, suffix: str) -> None:
    marker = make_marker(is_still=suffix != ".mov")
    unsigned, out = tmp_path / f"u{suffix}", tmp_path / f"o{suffix}"
    if suffix == ".mov":
        write_clip(unsigned, marker, side=96, frames=4)
    else:
        write_still(unsigned, marker)
    marker.finish(unsigned, out)
    reading = read_credentials(out)
    assert reading.state is CredentialsState.VALID
    assert reading.record_id == str(marker.record_id)
    data = out.read_bytes()
    assert b"Iptc4xmpExt:DigitalSourceType" in data  # the XMP packet
    assert b"TC260:AIGC" in data


# Who signs


def test_local_chain_is_private_and_its_root_key_is_gone(home: Path) -> None:
    identity = signing_keys.signing_identity()
    assert identity.is_local
    files = list(home.iterdir())
    assert [f.name for f in files] == ["c2pa_identity.pem"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    text = files[0].read_text()
    assert text.count("PRIVATE KEY-----") == 2  # begin and end of one key
    leaf, root = x509.load_pem_x509_certificates(identity.chain_pem.encode())
    assert leaf.issuer == root.subject
    assert "UNTRUSTED LOCAL" in leaf.subject.rfc4514_string()
    assert (leaf.not_valid_after_utc - leaf.not_valid_before_utc).days >= 3650
    assert signing_keys.signing_identity() == identity  # made once
    files[0].chmod(0o644)
    with pytest.raises(ProvenanceError, match="chmod 600"):
        signing_keys.signing_identity()


def test_key_from_the_environment(tmp_path: Path, facts: OutputFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    key, chain = signing_keys.make_chain()
    (tmp_path / "chain.pem").write_bytes(chain)
    (tmp_path / "key.pem").write_bytes(key)
    (tmp_path / "key.pem").chmod(0o600)
    monkeypatch.setenv(signing_keys.CERT_VARIABLE, str(tmp_path / "chain.pem"))
    with pytest.raises(ConfigError, match=signing_keys.KEY_VARIABLE):
        signing_keys.signing_identity()
    monkeypatch.setenv(signing_keys.KEY_VARIABLE, str(tmp_path / "key.pem"))
    C2paSigner(target=TARGET).sign(TARGET, tmp_path / "o.mp4", manifest=manifest_json(facts))
    reading = read_credentials(tmp_path / "o.mp4")
    assert reading.state is CredentialsState.VALID
    assert not reading.is_own
    assert not (tmp_path / "home").exists()


SIGNER = """
import sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
sys.stdout.buffer.write(key.sign(sys.stdin.buffer.read(), ec.ECDSA(hashes.SHA256())))
"""


def test_signer_command(tmp_path: Path, facts: OutputFacts, monkeypatch: pytest.MonkeyPatch) -> None:
    key, chain = signing_keys.make_chain()
    for name, data in (("chain.pem", chain), ("key.pem", key), ("signer.py", SIGNER.encode())):
        (tmp_path / name).write_bytes(data)
    monkeypatch.setenv(signing_keys.CERT_VARIABLE, str(tmp_path / "chain.pem"))
    command = f"{sys.executable} {tmp_path / 'signer.py'} {tmp_path / 'key.pem'}"
    monkeypatch.setenv(signing_keys.SIGNER_VARIABLE, command)
    C2paSigner(target=TARGET).sign(TARGET, tmp_path / "o.mp4", manifest=manifest_json(facts))
    assert read_credentials(tmp_path / "o.mp4").state is CredentialsState.VALID
    monkeypatch.setenv(signing_keys.SIGNER_VARIABLE, f"{command}-missing")
    with pytest.raises(ProvenanceError, match="signer command failed"):
        C2paSigner(target=TARGET).sign(TARGET, tmp_path / "p.mp4", manifest=manifest_json(facts))
    assert not (tmp_path / "p.mp4").exists()


def test_a_key_that_does_not_fit_leaves_no_file(tmp_path: Path, facts: OutputFacts) -> None:
    key, _ = signing_keys.make_chain()
    _, chain = signing_keys.make_chain()
    identity = signing_keys.SigningIdentity(
        chain_pem=chain.decode(), key_pem=key.decode(), command=None, tsa_url=None, is_local=False
    )
    with pytest.raises(ProvenanceError, match="can't be written"):
        C2paSigner(target=TARGET, identity=identity).sign(TARGET, tmp_path / "o.mp4", manifest=manifest_json(facts))
    assert list(tmp_path.glob("*.mp4")) == []


def test_mkv_is_refused(tmp_path: Path, facts: OutputFacts) -> None:
    with pytest.raises(ProvenanceError, match="can carry Content Credentials"):
        C2paSigner(target=TARGET).sign(TARGET, tmp_path / "o.mkv", manifest=manifest_json(facts))


@pytest.mark.slow
def test_an_expired_certificate_is_not_called_tampering(tmp_path: Path, facts: OutputFacts) -> None:
    begin = dt.datetime.now(dt.UTC) - dt.timedelta(days=1) + dt.timedelta(seconds=3)
    key, chain = signing_keys.make_chain(not_before=begin, days=1)
    identity = signing_keys.SigningIdentity(
        chain_pem=chain.decode(), key_pem=key.decode(), command=None, tsa_url=None, is_local=False
    )
    C2paSigner(target=TARGET, identity=identity).sign(TARGET, tmp_path / "o.mp4", manifest=manifest_json(facts))
    time.sleep(8)  # c2pa allows for clocks that differ by some seconds
    reading = read_credentials(tmp_path / "o.mp4")
    assert reading.state is CredentialsState.SIGNER_INVALID
    assert "signingCredential.expired" in reading.failures


# The tamper matrix


def flip(path: Path, offset: int, bit: int = 1) -> Path:
    data = bytearray(path.read_bytes())
    data[offset] ^= bit
    out = path.with_name("tampered" + path.suffix)
    out.write_bytes(bytes(data))
    return out


@pytest.mark.parametrize(
    ("needle", "after"),
    [
        (b"mdat", 5000),
        (b"moov", 60),
        (b"Intracoder", 0),
        (b"compositeWithTrained", 3),
        (b"record_sha256", 20),
        (b"tilemark", 2),
    ],
)
def test_one_bit_flipped_shows(signed: Path, needle: bytes, after: int) -> None:
    at = signed.read_bytes().index(needle) + after
    assert read_credentials(flip(signed, at)).state is CredentialsState.TAMPERED


def test_a_replaced_word_of_the_manifest_shows(signed: Path) -> None:
    data = signed.read_bytes().replace(b"compositeWithTrainedAlgorithmicMedia", b"digitalCreationAlgorithmicMediaaaaaa")
    signed.write_bytes(data)
    assert read_credentials(signed).state is CredentialsState.TAMPERED


def test_appended_box_shows(signed: Path) -> None:
    signed.write_bytes(signed.read_bytes() + b"\x00\x00\x00\x10udta12345678")
    assert read_credentials(signed).state is CredentialsState.TAMPERED


@pytest.mark.parametrize("cut", [1000, 30_000])
def test_truncated_file_shows(signed: Path, cut: int) -> None:
    signed.write_bytes(signed.read_bytes()[:-cut])
    assert read_credentials(signed).state is CredentialsState.TAMPERED


def test_stripped_and_reencoded_files_have_none(tmp_path: Path, signed: Path) -> None:
    reencode(signed, tmp_path / "re.mp4")
    assert read_credentials(tmp_path / "re.mp4").state is CredentialsState.ABSENT


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_stills_show_a_flipped_bit(tmp_path: Path, suffix: str) -> None:
    marker = make_marker(is_still=True)
    write_still(tmp_path / f"u{suffix}", marker)
    out = tmp_path / f"o{suffix}"
    marker.finish(tmp_path / f"u{suffix}", out)
    assert read_credentials(flip(out, out.stat().st_size - 3000)).state is CredentialsState.TAMPERED


def test_random_bit_flips_are_noticed_or_harmless(signed: Path) -> None:
    """Flips that pass may only lie in the padding that C2PA leaves out of its hash."""
    rng = random.Random(0)
    size = signed.stat().st_size
    states = [read_credentials(flip(signed, rng.randrange(size), 1 << rng.randrange(8))).state for _ in range(60)]
    assert states.count(CredentialsState.VALID) <= 1
    assert CredentialsState.ABSENT not in states


@pytest.mark.parametrize("rounds", [60, pytest.param(1500, marks=pytest.mark.slow)])
def test_mutated_files_never_crash_the_reader(tmp_path: Path, signed: Path, rounds: int) -> None:
    rng = random.Random(1)
    seed = signed.read_bytes()
    manifest_at = seed.index(b"jumdc2pa")
    path = tmp_path / "m.mp4"
    for _ in range(rounds):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 30)):
            at = rng.randrange(64) if rng.random() < 0.3 else manifest_at + rng.randrange(-200, 6000)
            data[at] = rng.randrange(256)
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(bytes(data))
        reading = read_credentials(path)
        assert reading.state in CredentialsState


def test_verify_on_mutated_clips_raises_our_errors_only(tmp_path: Path, signed: Path) -> None:
    rng = random.Random(2)
    seed = signed.read_bytes()
    path = tmp_path / "m.mp4"
    for _ in range(2):
        data = bytearray(seed)
        for _ in range(400):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(bytes(data))
        assert verify_file(path).exit_code == 4


# Other people's files


def sign_as(tool: str, kind: str, source: Path, out: Path) -> Path:
    """A file of another program, by its own certificate."""
    key, chain = signing_keys.make_chain()
    action = {
        "action": "c2pa.created",
        "digitalSourceType": f"http://cv.iptc.org/newscodes/digitalsourcetype/{kind}",
    }
    definition = {
        "claim_generator_info": [{"name": tool, "version": "9"}],
        "assertions": [{"label": "c2pa.actions.v2", "data": {"actions": [action]}}],
    }
    info = c2pa.C2paSignerInfo(alg=b"es256", sign_cert=chain, private_key=key, ta_url=None)
    with (
        c2pa.Signer.from_info(info) as signer,
        c2pa.Builder(definition) as builder,
        source.open("rb") as unsigned,
        out.open("w+b") as sink,
    ):
        builder.sign(signer, mimetypes.guess_type(out.name)[0], unsigned, sink)
    return out


def test_a_cameras_file_is_read(tmp_path: Path) -> None:
    out = sign_as("Some Camera", "digitalCapture", TARGET, tmp_path / "camera.mp4")
    reading = read_credentials(out)
    assert reading.state is CredentialsState.VALID
    assert reading.generator == "Some Camera"
    assert not reading.is_ai
    assert not is_ours(reading)
    assert reading.payload is None
    report = verify_file(out)
    assert report.exit_code == 1, "it says nothing of AI"
    text = " ".join(report.words)
    assert "Content Credentials of Some Camera, signed by local signer" in text
    assert "They declare no use of AI." in text
    assert "authentic" not in text
    assert verify_file(flip(out, out.read_bytes().index(b"mdat") + 5000)).exit_code == 4


@pytest.mark.parametrize("suffix", [".webp", ".png", ".jpg", ".tif"])
def test_a_generators_picture_is_marked(tmp_path: Path, suffix: str) -> None:
    picture = tmp_path / f"picture{suffix}"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (80, 120, 3), np.uint8))
    report = verify_file(sign_as("Some Generator", "trainedAlgorithmicMedia", picture, tmp_path / f"made{suffix}"))
    assert report.exit_code == 0
    assert report.credentials.is_ai
    assert not report.credentials.is_own
    assert "They declare content made or changed by a trained model." in report.words


@pytest.mark.parametrize("name", ["note.txt", "clip.mkv", "noname", "empty.mp4", "text.mp4", "text.png"])
def test_files_without_a_manifest(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"" if name == "empty.mp4" else b"just text, nothing else\n" * 20)
    assert read_credentials(path).state is CredentialsState.ABSENT


def test_a_missing_file_is_a_provenance_error(tmp_path: Path) -> None:
    with pytest.raises(ProvenanceError, match="expected a file"):
        verify_file(tmp_path / "none.mp4")


# No network

NO_SOCKETS = """
import ctypes, platform, struct, sys
number = {"x86_64": 41, "aarch64": 198}[platform.machine()]
# seccomp: kill the process on socket(AF_INET or AF_INET6), allow everything else
program = [(0x20, 0, 0, 0), (0x15, 0, 4, number), (0x20, 0, 0, 16), (0x15, 1, 0, 2), (0x15, 0, 1, 10),
           (0x06, 0, 0, 0x80000000), (0x06, 0, 0, 0x7FFF0000)]
code = b"".join(struct.pack("HBBI", *line) for line in program)
buffer = ctypes.create_string_buffer(code)
filter_ = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.c_char_p(filter_), 0, 0):
    sys.exit(77)
"""

SIGN_AND_VERIFY = """
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from provenance_outputs import make_marker, write_still
from intracoder.provenance.verify import verify_file
folder = Path(sys.argv[2])
marker = make_marker(is_still=True)
write_still(folder / "u.png", marker)
marker.finish(folder / "u.png", folder / "o.png")
sys.exit(verify_file(folder / "o.png").exit_code)
"""


def run_without_sockets(code: str, *arguments: str) -> int:
    command = [sys.executable, "-c", NO_SOCKETS + code, *arguments]
    return subprocess.run(command, capture_output=True, check=False, timeout=120).returncode


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="seccomp is Linux's")
def test_signing_and_verifying_open_no_socket(tmp_path: Path) -> None:
    blocked = run_without_sockets("import socket; socket.socket(socket.AF_INET, socket.SOCK_STREAM)")
    if blocked == 77:
        pytest.skip("this kernel allows no seccomp filter")
    assert blocked == -31, "the filter kills with SIGSYS"
    assert run_without_sockets(SIGN_AND_VERIFY, str(Path(__file__).parent), str(tmp_path)) == 0
    shutil.rmtree(tmp_path / "home")
