"""Scorecards and suites."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from toy_bench import card, schema, touch

from intracoder.errors import ConfigError, MediaError
from intracoder.evaluation.readings import Clip
from intracoder.evaluation.scorecard import (
    from_json,
    load_scorecard,
    save_scorecard,
    to_json,
    to_markdown,
)
from intracoder.evaluation.suites import (
    Budget,
    celeb_df_suite,
    faceforensics_suite,
    find_suite,
    load_suite,
)

# ---- scorecards ------------------------------------------------------------------------------------------------


def test_scorecard_survives_json_and_keeps_to_its_schema(tmp_path: Path) -> None:
    for one in (card(), card(truth=None)):
        jsonschema.validate(json.loads(to_json(one)), schema("scorecard.schema.json"))
        assert from_json(to_json(one), where="here") == one
    save_scorecard(card(), tmp_path / "card.json")
    assert load_scorecard(tmp_path / "card.json") == card()


def test_scorecard_has_a_table_without_negative_zeros() -> None:
    text = to_markdown(card())
    assert "| NID | **0.90** |" in text
    assert "-0.00" not in text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"schema": "other/1"}',
        '{"schema": "intracoder.scorecard/1", "metrics": {"nonsense": {}}}',
        to_json(card()).replace('"value": 0.9', '"value": "high"'),
    ],
)
def test_broken_scorecards_are_one_clear_line(text: str) -> None:
    with pytest.raises(ConfigError, match="here") as caught:
        from_json(text, where="here")
    assert "\n" not in str(caught.value)


# ---- suites ----------------------------------------------------------------------------------------------------


def test_the_mini_suite_is_packaged_small_and_whole() -> None:
    suite = find_suite("mini")
    assert [pair.name for pair in suite.pairs] == ["W_on_M", "A_on_H"]
    folder = suite.pairs[0].target.parent
    assert sum(path.stat().st_size for path in folder.iterdir()) < 4 * 2**20
    assert (folder / "NOTICE.md").exists()


def write_suite(folder: Path, text: str) -> Path:
    for name in ("s.mp4", "t.mp4"):
        (folder / name).write_bytes(b"")
    path = folder / "suite.toml"
    path.write_text(text, encoding="utf-8")
    return path


PAIR = '[[pair]]\nname = "one"\nsource = ["s.mp4"]\ntarget = "t.mp4"\n'


def test_a_suite_file_is_read_strictly(tmp_path: Path) -> None:
    path = write_suite(
        tmp_path,
        'consent_basis = "synthetic"\n' + "minutes = [5]\nsteps = [100]\nseeds = [0, 7]\n" + PAIR + "frames = [2, 9]\n",
    )
    suite = load_suite(path, tmp_path)
    assert suite.budgets == (Budget(minutes=5.0), Budget(steps=100))
    assert [one.label for one in suite.budgets] == ["5 min", "100 steps"]
    assert suite.seeds == (0, 7)
    assert suite.pairs[0].target_clip() == Clip(path=tmp_path / "t.mp4", start=2, stop=9)
    assert suite.pairs[0].same_part(path) == Clip(path=path, stop=7)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "at least one"),
        ("nonsense = 1\n" + PAIR, "unknown keys nonsense"),
        (PAIR + "frames = [9, 2]\n", "frames"),
        (PAIR + PAIR, "its own name"),
        (PAIR.replace("t.mp4", "missing.mp4"), "doesn't exist"),
        (PAIR.replace('"one"', '"../one"'), "name: expected"),
        ('seeds = ["a"]\n' + PAIR, "seeds"),
        ('consent_basis = "none"\n' + PAIR, "consent_basis: expected one of self"),
        (PAIR, "consent_basis: expected one of self.* got ''"),
        ("[[pair]]\n", "target and source"),
        ("= broken", "can't be read as a suite"),
    ],
)
def test_bad_suite_files_are_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_suite(write_suite(tmp_path, text), tmp_path)


def test_unknown_suites_name_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="mini, published, synthetic, self, occluded, celeb-df, ffpp"):
        find_suite("nonsense")
    with pytest.raises(ConfigError, match="--data"):
        find_suite("synthetic")
    with pytest.raises(ConfigError, match="--data"):
        find_suite("celeb-df")


def test_celeb_df_pairs_come_from_its_names(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "Celeb-real/id0_0000.mp4",
        "Celeb-real/id1_0003.mp4",
        "Celeb-real/id1_0004.mp4",
        "YouTube-real/00000.mp4",
        "Celeb-synthesis/id0_id1_0000.mp4",
        "Celeb-synthesis/id1_id0_0003.mp4",
    )
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00000.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n", encoding="utf-8"
    )
    suite = celeb_df_suite(tmp_path)
    assert suite.consent_basis == "dataset-licence"
    (pair,) = suite.pairs
    assert pair.target == tmp_path / "Celeb-real/id0_0000.mp4"
    assert [path.name for path in pair.source] == ["id1_0003.mp4", "id1_0004.mp4"]
    assert pair.outputs == {"Celeb-DF": tmp_path / "Celeb-synthesis/id0_id1_0000.mp4"}
    assert len(celeb_df_suite(tmp_path, only_tested=False).pairs) == 2


def test_celeb_df_pp_has_a_column_for_each_of_its_methods(tmp_path: Path) -> None:
    fake = "Celeb-synthesis/FaceSwap/{}/id0_id1_0000.mp4"
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-real/id1_0000.mp4")
    touch(tmp_path, fake.format("Celeb-DF"), fake.format("SimSwap"))
    touch(tmp_path, "Celeb-synthesis/FaceReenact/LIA/id0_id1_0000.mp4")
    (pair,) = celeb_df_suite(tmp_path, only_tested=False).pairs
    assert sorted(pair.outputs) == ["Celeb-DF", "SimSwap"]


def test_faceforensics_pairs_come_from_its_names(tmp_path: Path) -> None:
    videos = "original_sequences/youtube/c23/videos"
    touch(tmp_path, f"{videos}/000.mp4", f"{videos}/003.mp4")
    touch(tmp_path, "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4")
    (pair,) = faceforensics_suite(tmp_path).pairs
    assert (pair.target.name, pair.source[0].name) == ("000.mp4", "003.mp4")
    assert list(pair.outputs) == ["Deepfakes"]


def test_folders_of_another_layout_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Celeb-real"):
        celeb_df_suite(tmp_path)
    with pytest.raises(ConfigError, match="original_sequences"):
        faceforensics_suite(tmp_path)
    touch(tmp_path, "Celeb-real/id0_0000.mp4", "Celeb-synthesis/strange.mp4")
    with pytest.raises(ConfigError, match="id0_id1_0000"):
        celeb_df_suite(tmp_path, only_tested=False)
    with pytest.raises(MediaError, match="List_of_testing_videos"):
        celeb_df_suite(tmp_path)
