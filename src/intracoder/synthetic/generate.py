"""Renders a suite: clip after clip, frame after frame; what exists is kept.

Blender is imported here only, when a suite is rendered.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from intracoder.errors import ConfigError
from intracoder.media.atomic import atomic_path
from intracoder.media.writer import write_image
from intracoder.protocols import Progress, silent
from intracoder.synthetic.exposure import measured_exposure, tonemap
from intracoder.synthetic.head import Head, pose_head
from intracoder.synthetic.labels import Labeller, clip_entry
from intracoder.synthetic.occluder import solid_of
from intracoder.synthetic.people import People, check_assets
from intracoder.synthetic.plan import ClipPlan, plan_clips
from intracoder.synthetic.silence import quiet
from intracoder.synthetic.suite import Suite
from intracoder.synthetic.tracks import Moment, perform
from intracoder.synthetic.videos import FOLDERS, ClipFiles, read_meta, write_clip

if TYPE_CHECKING:
    from intracoder.synthetic.scene import Scene


@dataclass(frozen=True, slots=True, kw_only=True)
class Generated:
    """What a run did."""

    clips: int
    """Whole clips in the folder."""
    frames: int
    """Rendered by this run."""
    kept: int
    """Frames that were there already."""
    seconds: float
    """That rendering took, setting up included."""


def generate(
    suite: Suite,
    assets: Path,
    out: Path,
    *,
    clips: int | None = None,
    threads: int | None = None,
    progress: Progress = silent,
) -> Generated:
    """Renders what is missing of ``suite`` into ``out``: clips, gt, masks, meta.

    Args:
        suite: What to render.
        assets: Folder of the avatars' GLB files.
        out: Made where it is missing. Killed runs go on from their last frame.
        clips: Only the first so many.
        threads: CPU threads, where not those of the suite.
        progress: Told of every frame.

    Raises:
        ConfigError: Blender is missing, ``assets`` lacks an avatar, or ``out`` holds clips of other settings.
        MediaError: An avatar can't be read, or a file can't be written.
    """
    if threads is not None:
        suite = dataclasses.replace(suite, quality=dataclasses.replace(suite.quality, threads=threads))
    plans = plan_clips(suite)[:clips]
    stems = {suite.people[name] for plan in plans for name in (plan.person, plan.track.person)}
    check_assets(assets, sorted(stems | {suite.people[suite.mesh_of]}))
    _check_blender()
    for name in FOLDERS:
        (out / name).mkdir(parents=True, exist_ok=True)
    return _Run(suite, plans, assets, out, progress).all()


def _check_blender() -> None:
    """ConfigError where ``bpy`` is missing."""
    if importlib.util.find_spec("bpy") is None:
        raise ConfigError(
            "synth: Blender (bpy 5.0.1) is not installed; with Python 3.11: pip install --no-deps bpy==5.0.1 "
            "(docs/synthetic.md says why --no-deps)"
        )


class _Run:
    """One run over a suite; the scene and the people stay as long as clips share them."""

    def __init__(self, suite: Suite, plans: tuple[ClipPlan, ...], assets: Path, out: Path, progress: Progress) -> None:
        self._suite, self._plans, self._out, self._progress = suite, plans, out, progress
        self._assets = assets
        self._total = sum(len(plan.frames) for plan in plans)
        self._rendered = self._kept = 0
        self._people: People | None = None
        self._scene: Scene | None = None
        self._scene_key: object = None
        self._exposures: dict[str, float] = {}

    def all(self) -> Generated:
        """Every clip."""
        begin = time.monotonic()
        for plan in self._plans:
            self._clip(plan)
        return Generated(
            clips=len(self._plans), frames=self._rendered, kept=self._kept, seconds=time.monotonic() - begin
        )

    def _clip(self, plan: ClipPlan) -> None:
        """One clip, unless it is whole."""
        paths, settings = ClipFiles.of(plan, self._out), plan.settings(self._suite)
        found = read_meta(paths.meta) or read_meta(paths.frames / "clip.json")
        if found is not None and found.get("settings") != settings:
            raise ConfigError(
                f"{self._out}: {plan.name} was rendered with other settings; give another --out or delete it there"
            )
        if paths.meta.is_file():
            self._kept += len(plan.frames)
            self._tell(plan)
            return
        exposure = self._exposure(plan)
        meta = clip_entry(plan, self._suite.people[plan.person], self._suite.quality.size_px, exposure, settings)
        paths.frames.mkdir(parents=True, exist_ok=True)
        with atomic_path(paths.frames / "clip.json") as temporary:
            temporary.write_text(json.dumps(meta), encoding="utf-8")
        meta["frames"] = self._frames(plan, paths, exposure)
        write_clip(plan, paths, meta)

    def _frames(self, plan: ClipPlan, paths: ClipFiles, exposure: float) -> list[dict[str, Any]]:
        """Renders the missing frames; labels of all."""
        moments, head = _performance(plan), self._head(plan)
        labeller = Labeller(self._of_people().topology, self._of_people().region, head)
        solid = solid_of(plan.track.occluder.shape) if plan.track.occluder else None
        scene: Scene | None = None
        labels = []
        for number in plan.frames:
            posed = pose_head(head, moments[number].rotations, moments[number].morphs)
            labels.append(labeller.frame(plan, self._suite.quality.size_px, number, moments[number], posed))
            if paths.picture(number).is_file():
                self._kept += 1
            else:
                scene = scene or self._scene_with(plan, head)
                moved = plan.track.occluder.positions(solid, number) if plan.track.occluder and solid else None
                radiance, mask = scene.render(posed, moved)
                grey = np.ascontiguousarray(np.repeat((mask * 255).astype(np.uint8)[..., None], 3, -1))
                write_image(paths.picture_mask(number), grey)
                write_image(paths.picture(number), tonemap(radiance, exposure))
                self._rendered += 1
            self._tell(plan)
        return labels

    def _exposure(self, plan: ClipPlan) -> float:
        """A light's own exposure, or the one measured where the track's owner begins."""
        if plan.light.exposure > 0:
            return plan.light.exposure
        if plan.track_name not in self._exposures:
            own = next((p for p in self._plans if (p.track_name, p.kind) == (plan.track_name, "own")), plan)
            paths = ClipFiles.of(own, self._out)
            known = read_meta(paths.meta) or read_meta(paths.frames / "clip.json")
            self._exposures[plan.track_name] = float(known["light"]["exposure"]) if known else self._measured(own)
        return self._exposures[plan.track_name]

    def _measured(self, plan: ClipPlan) -> float:
        """Renders a clip's first frame to see how much light there is."""
        head, moment = self._head(plan), _performance(plan)[plan.frames[0]]
        scene = self._scene_with(plan, head)
        radiance, mask = scene.render(pose_head(head, moment.rotations, moment.morphs))
        return measured_exposure(radiance, mask, head, self._of_people().region)

    def _head(self, plan: ClipPlan) -> Head:
        people = self._of_people()
        if plan.kind == "face":
            return people.face_on(plan.track.person, plan.person)
        return people.head(plan.person)

    def _of_people(self) -> People:
        """The people, loaded when the first frame is missing."""
        if self._people is None:
            suite = self._suite
            self._people = People(
                self._assets, suite.people, suite.mesh_of, texture_px=suite.quality.texture_px, tone=suite.tone
            )
        return self._people

    def _scene_with(self, plan: ClipPlan, head: Head) -> Scene:
        """The scene of a clip; the last one with another head where light and camera are the same."""
        with quiet():  # Blender says at import that parts of it, which we don't use, want NumPy 1
            from intracoder.synthetic.scene import Scene

        people = self._of_people()
        key = (plan.light, plan.camera, plan.track.occluder)
        if self._scene is None or key != self._scene_key:
            self._scene, self._scene_key = Scene(plan.light, plan.camera, self._suite.quality), key
            if plan.track.occluder is not None:
                self._scene.put_solid(solid_of(plan.track.occluder.shape))
        self._scene.put_head(people.topology, head, people.mask_weights(self._suite.mask))
        return self._scene

    def _tell(self, plan: ClipPlan) -> None:
        done = self._rendered + self._kept
        self._progress("render", float(done), float(self._total), plan.name)


def _performance(plan: ClipPlan) -> tuple[Moment, ...]:
    """The track's moments."""
    track = plan.track
    return perform(
        track.seed, track.frame_count, yaw_deg=track.yaw_deg, pitch_deg=track.pitch_deg, roll_deg=track.roll_deg
    )
