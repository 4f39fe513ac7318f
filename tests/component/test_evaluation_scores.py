"""The metrics with their real networks: known answers, one fault at a time, and no drift of definitions.

Run as a script, this file writes the scores that test_definitions_do_not_drift compares with.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from intracoder.errors import ConsentError, GuardError, MediaError, NoFaceError
from intracoder.evaluation import tables
from intracoder.evaluation.baselines import baselines
from intracoder.evaluation.evaluator import Evaluator, Trial
from intracoder.evaluation.methods import CopyTarget, SwapJob
from intracoder.evaluation.perceptual import PerceptualNet
from intracoder.evaluation.readings import Clip, FaceReaders, shipped_readers
from intracoder.evaluation.report import write_report
from intracoder.evaluation.scorecard import Scorecard, load_scorecard
from intracoder.evaluation.sheet import write_scorecard
from intracoder.evaluation.suites import Budget, Suite, find_suite
from intracoder.evaluation.swapbench import plan_bench, run_bench
from intracoder.media.reader import read_frames
from intracoder.media.stills import read_image, write_image
from intracoder.protocols import silent
from intracoder.provenance import guard
from intracoder.provenance.verify import Verdict, verify_file
from intracoder.provenance.watermark import TileMark

COUNT = 8
DATA = Path(__file__).parents[1] / "data"
PAIR = find_suite("mini").pairs[0]


@pytest.fixture(scope="module")
def readers() -> FaceReaders:
    return shipped_readers()


@pytest.fixture(scope="module")
def evaluator(readers: FaceReaders) -> Evaluator:
    return Evaluator(readers, PerceptualNet())


def trial(output: Path, *, naive: bool = False) -> Trial:
    assert PAIR.truth is not None
    assert PAIR.truth_mask is not None
    return Trial(
        output=Clip(path=output, stop=COUNT),
        target=Clip(path=PAIR.target, stop=COUNT),
        source=(Clip(path=PAIR.source[0], stop=COUNT),),
        truth=None if naive else Clip(path=PAIR.truth, stop=COUNT),
        truth_mask=None if naive else Clip(path=PAIR.truth_mask, stop=COUNT),
    )


def frames(path: Path | None, stop: int = COUNT) -> list[np.ndarray]:
    assert path is not None
    return [frame.pixels for frame in read_frames(path, stop=stop)]


def saved(folder: Path, images: list[np.ndarray]) -> Path:
    folder.mkdir(exist_ok=True)
    for k, image in enumerate(images):
        write_image(folder / f"{k:03d}.png", image)
    return folder


def values(card: Scorecard) -> dict[str, float]:
    return {key: one.value for key, one in card.metrics.items()}


# ---- known answers ---------------------------------------------------------------------------------------------


def test_copying_the_target_transfers_nothing_and_leaves_everything(evaluator: Evaluator) -> None:
    got = values(evaluator.evaluate(trial(PAIR.target)))
    assert got["nid"] == pytest.approx(0, abs=1e-6)
    assert got["leak"] == pytest.approx(1, abs=1e-6)
    assert got["gt_margin"] == pytest.approx(-1, abs=1e-6)
    assert got["mask_iou"] == 0
    assert got["seam_de"] == 0
    assert got["background_psnr_db"] == 80
    # the truth is another face: copying is no perfect swap
    assert got["ssim"] < 0.85
    assert got["nme_percent"] > 2


def test_copying_the_target_performs_perfectly_where_there_is_no_truth(evaluator: Evaluator) -> None:
    got = values(evaluator.evaluate(trial(PAIR.target, naive=True)))
    for key in ("nid", "pose_deg", "expression", "gaze_deg", "light_de", "seam_de"):
        assert got[key] == pytest.approx(0, abs=1e-6), key
    for key in ("leak", "detail_ratio", "flicker_ratio", "jitter_ratio", "found"):
        assert got[key] == pytest.approx(1, abs=1e-6), key
    assert "ssim" not in got


def test_the_truth_is_a_perfect_swap(evaluator: Evaluator) -> None:
    got = values(evaluator.evaluate(trial(PAIR.truth or PAIR.target)))
    for key in ("leak", "pose_deg", "expression", "expression_kept", "gaze_deg", "light_de", "seam_de", "nme_percent"):
        assert got[key] == pytest.approx(0, abs=1e-6), key
    for key in ("nid", "detail_ratio", "flicker_ratio", "jitter_ratio", "ssim", "gt_margin", "found"):
        assert got[key] == pytest.approx(1, abs=1e-6), key
    assert got["psnr_db"] == 80
    assert got["perceptual"] == pytest.approx(0, abs=1e-6)
    assert got["mask_iou"] > 0.7
    assert got["background_psnr_db"] > 40


def test_without_truth_even_a_perfect_swap_does_not_reach_the_ideal(evaluator: Evaluator) -> None:
    got = values(evaluator.evaluate(trial(PAIR.truth or PAIR.target, naive=True)))
    assert 0.5 < got["nid"] < 0.95
    assert 0.1 < got["leak"] < 0.5
    assert got["pose_deg"] > 2


# ---- one fault at a time ---------------------------------------------------------------------------------------


def flicker(image: np.ndarray, index: int) -> np.ndarray:
    return image * (1 + 0.03 * (-1) ** index)


def blur(image: np.ndarray, index: int) -> np.ndarray:
    del index
    return np.asarray(cv2.GaussianBlur(image, (0, 0), 1.2))


def shift(image: np.ndarray, index: int) -> np.ndarray:
    del index
    return np.roll(image, 3, axis=1)


def cast(image: np.ndarray, index: int) -> np.ndarray:
    del index
    return image + np.array([8.0, -2.0, -8.0])


def shake(image: np.ndarray, index: int) -> np.ndarray:
    return np.roll(image, (-1) ** index, axis=0)


FAULTS: dict[str, tuple[Callable[[np.ndarray, int], np.ndarray], set[str]]] = {
    "none": (lambda image, _: image, set()),
    "flicker": (flicker, {"flicker"}),
    "blur": (blur, {"blur"}),
    "shift": (shift, {"landmarks"}),
    "cast": (cast, {"light"}),
    "shake": (shake, {"flicker", "jitter"}),
}


def alarms(got: dict[str, float]) -> set[str]:
    """Which metrics call for attention."""
    found = {
        "flicker": got["flicker_ratio"] > 2,
        "jitter": got["jitter_ratio"] > 2,
        "blur": got["detail_ratio"] < 0.6,
        "landmarks": got["nme_percent"] > 2.5,
        "light": got["light_de"] > 2,
        "seam": got["seam_de"] > 1,
        "identity": abs(1 - got["nid"]) > 0.25 or abs(got["leak"]) > 0.25,
        "background": got["background_psnr_db"] < 38,
    }
    return {name for name, rings in found.items() if rings}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_moves_the_metric_meant_for_it(name: str, evaluator: Evaluator, tmp_path: Path) -> None:
    fault, expected = FAULTS[name]
    images = []
    for k, (truth, mask) in enumerate(zip(frames(PAIR.truth), frames(PAIR.truth_mask), strict=True)):
        alpha = mask[..., 1:2] / 255.0
        spoilt = alpha * fault(truth.astype(np.float64), k) + (1 - alpha) * truth
        images.append(np.clip(spoilt, 0, 255).round().astype(np.uint8))
    assert alarms(values(evaluator.evaluate(trial(saved(tmp_path, images))))) == expected


def test_a_hard_edge_is_a_seam(evaluator: Evaluator, tmp_path: Path) -> None:
    images = []
    pictures = zip(frames(PAIR.truth), frames(PAIR.target), frames(PAIR.truth_mask), strict=True)
    for truth, target, mask in pictures:
        core = cv2.erode(mask, np.ones((13, 13), np.uint8))[..., 1:2] > 127
        brighter = np.clip(truth.astype(int) + np.array([10, 8, 8]), 0, 255)
        images.append(np.where(core, brighter, target).astype(np.uint8))
    got = values(evaluator.evaluate(trial(saved(tmp_path, images))))
    assert got["seam_de"] > 1.5
    naive = values(evaluator.evaluate(trial(tmp_path, naive=True)))
    assert naive["seam_de"] > 1.5


def test_only_the_frames_that_a_run_swapped_are_judged(evaluator: Evaluator) -> None:
    whole = trial(DATA / "evaluation_output.mp4")
    some = evaluator.evaluate(dataclasses.replace(whole, frames=frozenset({2, 3, 4, 5, 6})))
    assert some.target_faces == 5
    assert some.metrics["pose_deg"].frames[:2] == (None, None)
    with pytest.raises(NoFaceError, match="swapped frame"):
        evaluator.evaluate(dataclasses.replace(whole, frames=frozenset({99})))


def test_a_scorecard_is_written_as_numbers_words_and_a_picture(evaluator: Evaluator, tmp_path: Path) -> None:
    one = trial(DATA / "evaluation_output.mp4")
    card = evaluator.evaluate(one)
    assert write_scorecard(card, one, evaluator, tmp_path) == tmp_path / "scorecard.json"
    assert values(load_scorecard(tmp_path / "scorecard.json"))["nid"] == pytest.approx(values(card)["nid"], rel=1e-5)
    assert "| NID |" in (tmp_path / "scorecard.md").read_text(encoding="utf-8")
    assert read_image(tmp_path / "scorecard.png").shape[0] > 1000


def test_a_report_has_tables_and_pictures(readers: FaceReaders, evaluator: Evaluator, tmp_path: Path) -> None:
    pair = dataclasses.replace(PAIR, stop=COUNT, source=PAIR.source)
    suite = Suite(name="tiny", pairs=(pair,))
    result = run_bench(plan_bench(suite, [CopyTarget(), baselines(readers)[0]], tmp_path), evaluator)
    page = write_report(result, suite, evaluator, tmp_path).read_text(encoding="utf-8")
    assert page.count('<div class="wide"><table') == 2 * len(tables.slices(result))
    assert page.count("<img") == 4
    assert page.count('class="best"') + page.count('class="first best"') == 0  # nothing competes with one method alone
    assert sorted(one.name for one in (tmp_path / "pictures").iterdir()) == [
        f"W_on_M_{kind}.png" for kind in ("curves", "errors", "grid", "strips")
    ]
    data = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    copied = next(t for t in data["trials"] if t["method"] == "copy-target")
    assert copied["metrics"]["leak"] == pytest.approx(1)


# ---- drift -----------------------------------------------------------------------------------------------------


def test_definitions_do_not_drift(evaluator: Evaluator) -> None:
    expected = json.loads((DATA / "evaluation_scores.json").read_text(encoding="utf-8"))
    for mode in ("truth", "naive"):
        got = values(evaluator.evaluate(trial(DATA / "evaluation_output.mp4", naive=mode == "naive")))
        assert set(got) == set(expected[mode])
        for key, value in expected[mode].items():
            assert got[key] == pytest.approx(value, rel=0.02, abs=0.01), f"{mode}: {key}"


# ---- bad input -------------------------------------------------------------------------------------------------


def test_bad_input_is_one_clear_line(evaluator: Evaluator, tmp_path: Path) -> None:
    faceless = saved(tmp_path / "faceless", [np.full((256, 256, 3), 90, np.uint8)] * COUNT)
    short = saved(tmp_path / "short", frames(PAIR.truth, 5))
    small = saved(tmp_path / "small", [image[::2, ::2].copy() for image in frames(PAIR.truth)])
    for path, kind, says in (
        (faceless, NoFaceError, "expected a face"),
        (short, MediaError, "expected 8 frames"),
        (small, MediaError, "expected the target's size 256x256, got 128x128"),
        (tmp_path / "missing.mp4", MediaError, "missing.mp4"),
    ):
        with pytest.raises(kind, match=says) as caught:
            evaluator.evaluate(trial(path))
        assert "\n" not in str(caught.value)


# ---- baselines -------------------------------------------------------------------------------------------------


def test_baselines_swap_and_repeat_exactly(readers: FaceReaders, evaluator: Evaluator, tmp_path: Path) -> None:
    scores, outputs = {}, {}
    for method in baselines(readers):
        folder = tmp_path / method.name
        folder.mkdir()
        job = SwapJob(
            pair=PAIR.name,
            source=PAIR.source,
            target=PAIR.target,
            start=0,
            stop=COUNT,
            budget=Budget(steps=1),
            seed=0,
            folder=folder,
            scratch=folder,
            shared=folder,
            consent_basis="synthetic",
        )
        output = method.run(job, silent)
        scores[method.name] = values(evaluator.evaluate(trial(output.path)))
        outputs[method.name] = output.path.read_bytes()
        if method.name == "mesh-warp strong":
            method.run(job, silent)
            assert output.path.read_bytes() == outputs[method.name]
    for name, got in scores.items():
        assert got["nid"] > 0.7, name
        assert got["background_psnr_db"] > 38, name
    # bending the mesh performs better than pasting, and skin colours are nearer to the light than global statistics
    assert scores["mesh-warp strong"]["nme_percent"] < scores["nearest-paste"]["nme_percent"]
    assert scores["mesh-warp strong"]["light_de"] < scores["mesh-warp classical"]["light_de"]
    assert scores["mesh-warp strong"]["ssim"] > scores["mesh-warp classical"]["ssim"]


def test_what_a_baseline_makes_is_allowed_guarded_and_marked(
    readers: FaceReaders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    (method, *_) = baselines(readers)
    job = SwapJob(
        pair=PAIR.name,
        source=PAIR.source,
        target=PAIR.target,
        start=0,
        stop=2,
        budget=Budget(steps=1),
        seed=0,
        folder=tmp_path,
        scratch=tmp_path,
        shared=tmp_path,
        consent_basis="synthetic",
    )
    output = method.run(job, silent).path
    assert TileMark().read(frames(output, 2)).is_found
    report = verify_file(output)
    assert report.verdict is Verdict.MARKED
    assert report.comment is not None
    output.unlink()
    with pytest.raises(ConsentError, match="has no consent record"):
        method.run(dataclasses.replace(job, consent_basis="self"), silent)

    class Refuses:
        def score(self, image: np.ndarray) -> float:
            return 1.0

    monkeypatch.setattr(guard, "default_scorer", Refuses)
    with pytest.raises(GuardError):
        method.run(job, silent)
    assert not output.exists()


def write_expected() -> None:
    """Stores today's scores of the stored output."""
    evaluator = Evaluator(shipped_readers(), PerceptualNet())
    stored = {
        mode: values(evaluator.evaluate(trial(DATA / "evaluation_output.mp4", naive=mode == "naive")))
        for mode in ("truth", "naive")
    }
    text = json.dumps({mode: {k: float(f"{v:.5g}") for k, v in one.items()} for mode, one in stored.items()}, indent=1)
    (DATA / "evaluation_scores.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_expected()
