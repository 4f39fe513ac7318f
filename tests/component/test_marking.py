"""Finishing an output: order, atomicity, self-check, and that no way leads around any of it."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from provenance_outputs import TARGET, Clean, enlarged, grants, make_marker, write_clip, write_still

import intracoder
from intracoder import config
from intracoder.errors import ConfigError, ConsentError, GuardError, MediaError, ProvenanceError
from intracoder.media.reader import probe, read_frames, read_image, read_metadata
from intracoder.media.writer import ClipWriter
from intracoder.provenance import marking
from intracoder.provenance.credentials import CredentialsState, read_credentials
from intracoder.provenance.guard import ContentGuard
from intracoder.provenance.ledger import ledger_path, read_ledger
from intracoder.provenance.marking import Marker
from intracoder.records import Frame, Image


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    (tmp_path / "out").mkdir()
    return tmp_path / "home"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out" / "o.mp4"


@pytest.fixture
def unsigned(tmp_path: Path) -> Path:
    return tmp_path / "out" / "u.mp4"


def assert_nothing_written(out: Path) -> None:
    assert list(out.parent.iterdir()) == []
    assert read_ledger().entries == ()


def test_a_finished_clip_carries_every_mark(out: Path, unsigned: Path) -> None:
    marker = make_marker()
    write_clip(unsigned, marker)
    seen: list[tuple[str, float, float | None, str]] = []
    output = marker.finish(unsigned, out, progress=lambda *call: seen.append(call))
    assert [note for *_, note in seen] == ["guard", "sign", "verify", "done"]
    assert not unsigned.exists()
    assert [p.name for p in out.parent.iterdir()] == ["o.mp4"]
    credentials = read_credentials(out)
    assert credentials.state is CredentialsState.VALID
    assert credentials.manifest_label == output.manifest_label
    assert output.mark.payload == credentials.payload == b"\x01" + marker.record_id.bytes[:5]
    assert output.mark.z_score > 12
    tags = read_metadata(out)
    assert tags["comment"].startswith("AI-modified: a face in this video was replaced")
    assert str(marker.record_id) in tags["AIGC"]
    (entry,) = read_ledger().entries
    assert (entry.record_id, entry.output_sha256) == (output.record_id, output.sha256)
    assert entry.consent_basis == ("synthetic",)
    assert not any(word in ledger_path().read_text() for word in ("o.mp4", "target", "synthetic person", "/"))


def test_label_and_mark_are_in_every_frame() -> None:
    frame = enlarged(next(iter(read_frames(TARGET, stop=1))), 512).pixels
    marker = make_marker()
    marked = marker.mark_frame(frame)
    unlabelled = make_marker(label="none", disclosure="in the credits").mark_frame(frame)
    change, small = (np.abs(m.astype(int) - frame).max(axis=-1) for m in (marked, unlabelled))
    assert small.max() <= 16
    assert change.max() > 100
    rows, columns = np.nonzero(change > 30)
    assert rows.min() > 0.85 * 512
    assert columns.max() < 0.6 * 512


def test_segments_of_a_resumed_run_carry_one_mark() -> None:
    frame = enlarged(next(iter(read_frames(TARGET, stop=1))), 512).pixels
    first = make_marker()
    resumed = make_marker(record_id=first.record_id)
    np.testing.assert_array_equal(first.mark_frame(frame), resumed.mark_frame(frame))


# Refusals


def test_no_consent_no_marker() -> None:
    with pytest.raises(ConsentError, match="expected consent"):
        Marker((), ContentGuard(Clean()), TARGET, model_sha256="0" * 64)


@pytest.mark.parametrize("options", [{"label": "none"}, {"label": "none", "disclosure": "  "}, {"label": "tiny"}])
def test_no_label_without_disclosure(options: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="disclosure"):
        make_marker(**options)


class Objects:
    """A scorer that objects to bright frames."""

    def score(self, image: Image) -> float:
        return 1.0 if image.mean() > 200 else 0.0


def test_guard_refuses_the_output(out: Path, unsigned: Path) -> None:
    marker = Marker(grants(), ContentGuard(Objects()), TARGET, model_sha256="0" * 64)
    with_bright = [np.full((96, 96, 3), 20 + 200 * (i == 9), np.uint8) for i in range(12)]
    with ClipWriter(unsigned, probe(TARGET), height=96, width=96) as writer:
        for index, image in enumerate(with_bright):
            writer.write(Frame(pixels=image, index=index, pts=index * 512))
    with pytest.raises(GuardError, match="refused as sexual content"):
        marker.finish(unsigned, out)
    assert_nothing_written(out)


class Broken:
    """A scorer that can't answer."""

    def score(self, image: Image) -> float:
        raise RuntimeError("no memory")


def test_guard_that_fails_refuses_the_output(out: Path, unsigned: Path) -> None:
    marker = Marker(grants(), ContentGuard(Broken()), TARGET, model_sha256="0" * 64)
    write_clip(unsigned, marker, side=96, frames=4)
    with pytest.raises(GuardError, match="so it is refused"):
        marker.finish(unsigned, out)
    assert_nothing_written(out)


def test_frames_that_were_not_marked_are_not_published(out: Path, unsigned: Path) -> None:
    write_clip(unsigned, None)
    with pytest.raises(ProvenanceError, match="invisible mark was not found"):
        make_marker().finish(unsigned, out)
    assert_nothing_written(out)


def test_frames_with_another_record_are_not_published(out: Path, unsigned: Path) -> None:
    write_clip(unsigned, make_marker())
    with pytest.raises(ProvenanceError, match="invisible mark was not found"):
        make_marker().finish(unsigned, out)
    assert_nothing_written(out)


def test_a_signature_that_does_not_hold_is_not_published(
    out: Path, unsigned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign = marking.C2paSigner.sign

    def damaging(self: object, source: Path, signed: Path, *, manifest: str) -> None:
        sign(self, source, signed, manifest=manifest)  # type: ignore[arg-type]
        data = bytearray(signed.read_bytes())
        data[-2000] ^= 1
        signed.write_bytes(bytes(data))

    monkeypatch.setattr(marking.C2paSigner, "sign", damaging)
    marker = make_marker()
    write_clip(unsigned, marker, side=96, frames=4)
    with pytest.raises(ProvenanceError, match="self-check: expected valid Content Credentials"):
        marker.finish(unsigned, out)
    assert_nothing_written(out)


def test_a_broken_ledger_stops_the_output(out: Path, unsigned: Path, home: Path) -> None:
    home.mkdir(mode=0o700)
    ledger_path().write_text("not a ledger\n")
    ledger_path().chmod(0o600)
    marker = make_marker()
    write_clip(unsigned, marker, side=96, frames=4)
    with pytest.raises(ProvenanceError, match="chain is broken"):
        marker.finish(unsigned, out)
    assert list(out.parent.iterdir()) == []


def test_an_unwritable_folder_and_a_wrong_suffix(tmp_path: Path, out: Path, unsigned: Path) -> None:
    for final, error in ((tmp_path / "nowhere" / "o.mp4", MediaError), (out.with_suffix(".mkv"), ProvenanceError)):
        marker = make_marker()
        write_clip(unsigned, marker, side=96, frames=4)
        with pytest.raises(error):
            marker.finish(unsigned, final)
        assert_nothing_written(out)


def test_an_older_output_survives_a_failed_run(out: Path, unsigned: Path) -> None:
    out.write_bytes(b"older")
    write_clip(unsigned, None)
    with pytest.raises(ProvenanceError):
        make_marker().finish(unsigned, out)
    assert out.read_bytes() == b"older"


def test_an_unreadable_unsigned_file(out: Path, unsigned: Path) -> None:
    unsigned.write_bytes(b"not a video")
    with pytest.raises(MediaError):
        make_marker().finish(unsigned, out)
    assert_nothing_written(out)


# Editing again


def test_a_marked_target_gets_the_new_mark_and_keeps_the_old_manifest(tmp_path: Path, unsigned: Path) -> None:
    first, second = (tmp_path / "out" / name for name in ("first.png", "second.png"))
    marker = make_marker(is_still=True)
    write_still(unsigned.with_suffix(".png"), marker)
    marker.finish(unsigned.with_suffix(".png"), first)
    again = make_marker(first, is_still=True)
    marked = again.mark_frame(read_image(first))
    cv2.imwrite(str(unsigned.with_suffix(".png")), marked[..., ::-1])
    output = again.finish(unsigned.with_suffix(".png"), second)
    assert output.mark.payload == b"\x01" + again.record_id.bytes[:5]
    assert output.mark.z_score > 12
    assert read_credentials(second).manifest_count == 2


# Killed on the way

FINISH = """
import sys, shutil
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from provenance_outputs import make_marker, write_clip
folder = Path(sys.argv[2])
marker = make_marker()
write_clip(folder / "source.mp4", marker, side=96, frames=4)
while True:
    shutil.copy(folder / "source.mp4", folder / "u.mp4")
    marker.finish(folder / "u.mp4", folder / "o.mp4", progress=lambda stage, done, total, note: print(note, flush=True))
"""


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.slow)])
def test_sigkill_during_finish_leaves_no_torn_file(tmp_path: Path, kills: int) -> None:
    rng = np.random.default_rng(3)
    folder = tmp_path / "killed"
    folder.mkdir()
    published = 0
    for number in range(kills):
        command = [sys.executable, "-c", FINISH, str(Path(__file__).parent), str(folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            wanted = ("guard", "sign", "verify", "done")[number % 4]
            for line in child.stdout:
                if line.strip() == wanted:
                    break
            time.sleep(float(rng.random()) * 0.02)
            child.kill()
        out = folder / "o.mp4"
        if out.exists():
            published += 1
            assert read_credentials(out).state is CredentialsState.VALID
        assert read_ledger().broken_at is None
    assert published


# No way around


def test_nothing_in_the_config_turns_a_mark_off() -> None:
    names: list[str] = []
    for section in dataclasses.fields(config.RunConfig):
        names += [f.name for f in dataclasses.fields(type(getattr(config.RunConfig(), section.name)))]
    assert not [n for n in names if re.search("guard|nsfw|consent|watermark|sign|c2pa|mark(?!ed)|verify|ledger", n)]
    assert {"label", "disclosure"} <= set(names)
    with pytest.raises(ConfigError):
        config.RenderConfig(label="none")


def test_the_environment_is_asked_for_keys_and_folders_only() -> None:
    package = Path(intracoder.__file__).parent / "provenance"
    text = "\n".join(p.read_text() for p in package.glob("*.py"))
    names = set(re.findall(r'"(INTRACODER_[A-Z0-9_]+)"', text))
    assert names == {
        "INTRACODER_HOME",
        "INTRACODER_C2PA_CERT",
        "INTRACODER_C2PA_KEY",
        "INTRACODER_C2PA_SIGNER",
        "INTRACODER_C2PA_TSA_URL",
    }


def test_the_marker_takes_no_switch() -> None:
    assert set(inspect.signature(Marker).parameters) == {
        "grants",
        "guard",
        "target",
        "model_sha256",
        "is_still",
        "label",
        "disclosure",
        "record_id",
    }
    assert set(inspect.signature(Marker.finish).parameters) == {"self", "unsigned", "final", "progress"}
    assert set(inspect.signature(Marker.mark_frame).parameters) == {"self", "image"}
