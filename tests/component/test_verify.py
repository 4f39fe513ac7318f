"""What ``verify`` says of outputs, of what became of them, and of files it has never seen."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from provenance_outputs import TARGET, make_marker, reencode, write_clip, write_still

from intracoder.errors import ProvenanceError
from intracoder.media.reader import probe, read_frames
from intracoder.media.writer import ClipWriter
from intracoder.provenance import consent
from intracoder.provenance.ledger import ledger_path
from intracoder.provenance.signing_keys import signing_identity
from intracoder.provenance.verify import Verdict, VerifyReport, verify_file
from intracoder.records import Frame


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("verify")


@pytest.fixture(autouse=True)
def _use_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRACODER_HOME", str(home / "home"))


@pytest.fixture(scope="module")
def output(home: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTRACODER_HOME", str(home / "home"))
        marker = make_marker()
        write_clip(home / "u.mp4", marker, side=512, frames=30, crf=16)
        return marker.finish(home / "u.mp4", home / "o.mp4").path


def said(report: VerifyReport) -> str:
    return " ".join(report.words)


def test_an_untouched_output(output: Path) -> None:
    report = verify_file(output)
    assert report.exit_code == 0
    assert report.is_ledger_file
    text = said(report)
    for words in (
        "marked as made or changed by AI",
        "the file is unchanged since",
        "this installation's own",
        "Invisible mark of Intracoder found",
        "a synthetic person, who does not exist",
        "The ledger knows this very file",
    ):
        assert words in text


def test_never_says_authentic(output: Path) -> None:
    sources = Path(consent.__file__).parent.glob("*.py")
    strings = re.findall(r'"([^"\n]*)"', "".join(p.read_text() for p in sources))
    assert not [s for s in strings if re.search("authentic|genuine|real photo", s, re.IGNORECASE)]
    assert not re.search("authentic|genuine", said(verify_file(output)), re.IGNORECASE)


def test_json_for_machines(output: Path) -> None:
    table = json.loads(verify_file(output).to_json())
    assert table["verdict"] == "marked"
    assert table["credentials"]["state"] == "valid"
    assert table["mark"]["found"]
    assert table["mark"]["payload"][2:] == table["ledger"]["record_id"].replace("-", "")[:10]
    assert table["ledger"]["same_file"]


def test_from_another_installation(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "elsewhere"))
    report = verify_file(output)
    assert report.verdict is Verdict.MARKED
    assert report.ledger_entry is None
    assert "is not proven" in said(report)
    assert "a synthetic person" in said(report), "the basis is in the manifest"
    assert not (tmp_path / "elsewhere").exists(), "verifying makes no keys"


def test_half_size_and_crf_28_is_known_by_the_mark_alone(output: Path, tmp_path: Path) -> None:
    reencode(output, tmp_path / "phone.mp4", side=256, crf=28)
    report = verify_file(tmp_path / "phone.mp4")
    assert report.verdict is Verdict.MARKED
    assert report.credentials.state.value == "absent"
    assert report.mark is not None
    assert report.mark.z_score > 6
    assert report.ledger_entry is not None
    assert not report.is_ledger_file
    assert "a changed copy of it" in said(report)
    assert "a synthetic person" in said(report), "the basis comes from the ledger"


def test_a_screen_grab_is_known_by_the_mark_alone(output: Path, tmp_path: Path) -> None:
    """A tilted crop of a few frames, scaled and saved as one JPEG."""
    frame = next(iter(read_frames(output, start=10, stop=11))).pixels
    tilt = cv2.getRotationMatrix2D((256, 256), 2, 1)
    grab = cv2.warpAffine(frame, tilt, (512, 512), flags=cv2.INTER_CUBIC)[40:480, 30:490]
    grab = cv2.resize(grab, None, fx=1.4, fy=1.4, interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "grab.jpg"), grab[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    report = verify_file(tmp_path / "grab.jpg")
    assert report.exit_code == 0
    assert report.mark is not None
    assert report.mark.is_found


def test_one_flipped_bit_is_tampering_though_the_mark_stands(output: Path, tmp_path: Path) -> None:
    data = bytearray(output.read_bytes())
    data[data.index(b"mdat") + 90_000] ^= 1
    (tmp_path / "flipped.mp4").write_bytes(bytes(data))
    report = verify_file(tmp_path / "flipped.mp4")
    assert report.exit_code == 4
    assert "changed after it was signed" in said(report)
    assert "the picture, the sound or the container was changed (assertion.bmffHash.mismatch)" in said(report)
    assert "untrusted" not in said(report)


def test_an_edited_statement_is_said_in_words(output: Path, tmp_path: Path) -> None:
    data = output.read_bytes().replace(b"compositeWithTrainedAlgorithmicMedia", b"compositeWithTrainedAlgorithmicMedio")
    (tmp_path / "edited.mp4").write_bytes(data)
    report = verify_file(tmp_path / "edited.mp4")
    assert report.exit_code == 4
    assert "a statement in the credentials was changed or taken out (assertion.hashedURI.mismatch" in said(report)


def test_truncated_is_tampering(output: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.mp4").write_bytes(output.read_bytes()[:-5000])
    report = verify_file(tmp_path / "cut.mp4")
    assert report.exit_code == 4
    assert "the picture can't be read" in said(report)


def test_a_transcode_that_keeps_only_the_comment(output: Path, tmp_path: Path) -> None:
    with ClipWriter(
        tmp_path / "c.mp4", probe(TARGET), height=64, width=64, comment="AI-modified: a face was replaced."
    ) as writer:
        for index in range(3):
            writer.write(Frame(pixels=np.full((64, 64, 3), 90, np.uint8), index=index, pts=512 * index))
    report = verify_file(tmp_path / "c.mp4")
    assert report.exit_code == 0
    assert "plain metadata" in said(report)


def test_unmarked_files() -> None:
    report = verify_file(TARGET)
    assert report.exit_code == 1
    assert said(report).startswith("No mark was found. That proves nothing")
    assert report.mark is not None
    assert not report.mark.is_found


def test_a_text_file_is_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "notes.mp4").write_text("hello")
    report = verify_file(tmp_path / "notes.mp4")
    assert report.exit_code == 1
    assert report.mark is None


def test_a_still_output(tmp_path: Path) -> None:
    marker = make_marker(is_still=True)
    write_still(tmp_path / "u.jpg", marker)
    marker.finish(tmp_path / "u.jpg", tmp_path / "o.jpg")
    report = verify_file(tmp_path / "o.jpg")
    assert report.exit_code == 0
    assert report.mark is not None
    assert report.mark.payload == b"\x01" + marker.record_id.bytes[:5]


def test_faults_of_this_installation_say_nothing_of_the_file(
    output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A marked file is marked, whatever became of the ledger and the key here."""
    home = tmp_path / "copy"
    shutil.copytree(ledger_path().parent, home)
    monkeypatch.setenv("INTRACODER_HOME", str(home))
    ledger_path().chmod(0o644)
    report = verify_file(output)
    assert report.exit_code == 0
    assert report.ledger_entry is None
    assert "ledger is not used: " in said(report)
    assert "expected mode 0600, got 0644" in json.loads(report.to_json())["ledger_fault"]
    assert report.credentials.is_own
    (home / "c2pa_identity.pem").chmod(0o644)
    report = verify_file(output)
    assert report.exit_code == 0
    assert not report.credentials.is_own
    with pytest.raises(ProvenanceError, match="chmod 600"):
        signing_identity()


def test_a_broken_ledger_is_said(output: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = ledger_path().read_bytes().splitlines(keepends=True)
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "copy"))
    (tmp_path / "copy").mkdir()
    ledger_path().write_bytes(lines[0] + b"{}\n")
    ledger_path().chmod(0o600)
    report = verify_file(output)
    assert report.ledger_broken_at == 2
    assert "ledger is broken at line 2" in said(report)
    assert report.exit_code == 0
