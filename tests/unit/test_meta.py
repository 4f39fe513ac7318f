"""The package as a whole: what help costs, how long files are, which words are used, what ships."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from intracoder.nets.weights import MANIFEST_NAME, read_manifest, weights_folder
from intracoder.provenance.consent import load_consent, sha256_file
from intracoder.provenance.packaged import PINNED_RECORDS, packaged_records

SOURCES = sorted(Path(str(files("intracoder"))).rglob("*.py"))
REPOSITORY = Path(__file__).parents[2]
MAX_LINES = 420
HEAVY = ("torch", "onnxruntime", "scipy", "cv2", "matplotlib", "av", "c2pa")
FORBIDDEN = {
    "kps",
    "lmk",
    "lmks",
    "donor",
    "donors",
    "ckpt",
    "face_type",
    "affine_matrix",
    "img",
    "imgs",
    "pred",
    "dst",
}
"""Names that docs/glossary.md has one word of ours for."""
FORBIDDEN_MODULES = {"utils", "util", "helpers", "helper", "common", "misc", "manager"}

HELP = """
import sys
sys.argv = ["intracoder", *{arguments!r}]
from intracoder.cli import main
try:
    code = main()
except SystemExit as stop:
    code = stop.code
heavy = sorted(name for name in {heavy!r} if name in sys.modules)
print("code", code, "heavy", heavy, file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["swap", "--help"], ["synth", "--help"], ["consent", "new", "--help"], ["--version"]]
)
def test_help_loads_no_framework(arguments):
    code = HELP.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stderr.splitlines() == ["code 0 heavy []"]
    assert done.stdout


def test_importing_the_package_loads_no_framework():
    code = (
        f"import intracoder, intracoder.app, intracoder.build, sys; print([n for n in {HEAVY!r} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[]"


def test_no_file_is_too_long_to_read():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert len(lengths) > 50
    assert {name: count for name, count in lengths.items() if count > MAX_LINES} == {}


def names_in(tree):
    """Every identifier that a module makes or uses, with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name, node.lineno


def test_one_word_for_one_thing():
    found = [
        f"{path.name}:{line}: {name}"
        for path in SOURCES
        for name, line in names_in(ast.parse(path.read_text(encoding="utf-8")))
        if name.lower() in FORBIDDEN
    ]
    assert found == []
    assert [path.name for path in SOURCES if path.stem in FORBIDDEN_MODULES] == []


def test_nothing_is_unpickled_and_nobody_is_left_to_do():
    for path in SOURCES:
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text, path
        assert not any(mark in text for mark in ("TODO", "FIXME", "XXX")), path


def test_every_weights_file_is_in_the_manifest_with_a_licence():
    entries = read_manifest()
    shipped = {path.name for path in weights_folder().iterdir() if path.is_file()} - {MANIFEST_NAME}
    assert {entry.file for entry in entries.values()} == shipped
    for entry in entries.values():
        assert len(entry.sha256) == 64
        assert entry.licence
        assert entry.origin


def test_every_weights_file_is_used():
    named = "\n".join(path.read_text(encoding="utf-8") for path in SOURCES)
    assert [key for key, entry in read_manifest().items() if f'"{key}"' not in named and entry.file not in named] == []


def test_documents_name_files_that_exist():
    documents = [*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")]
    assert len(documents) > 20
    parts = [REPOSITORY / name for name in ("src", "tests", "benchmarks")]
    code = [f"/{path.relative_to(REPOSITORY).as_posix()}" for part in parts for path in part.rglob("*.py")]
    lost = []
    for document in documents:
        text = document.read_text(encoding="utf-8")
        modules = re.findall(r"`([\w/]+\.py)`", text)
        links = re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", text)
        lost += [name for name in modules if not any(path.endswith(f"/{name}") for path in code)]
        lost += [link for link in links if not (document.parent / link).exists()]
    assert lost == []


def test_every_pinned_record_ships():
    assert {signed.record.sha256 for signed in packaged_records()} == PINNED_RECORDS


@pytest.mark.parametrize("name", ["source", "target"])
def test_the_demo_clips_ship_with_consent_for_research(name, tmp_path, monkeypatch):
    monkeypatch.setenv("INTRACODER_HOME", str(tmp_path / "home"))
    with as_file(files("intracoder") / "demo" / f"{name}.mp4") as clip:
        (grant,) = load_consent([clip], use="research")
        digest = sha256_file(clip)
    (record,) = [signed for signed in packaged_records() if digest in signed.file_hashes]
    assert grant.record_sha256 == record.record.sha256
    assert grant.record_sha256 in PINNED_RECORDS
    assert grant.basis == "synthetic"


def test_the_version_is_said_once():
    project = REPOSITORY / "pyproject.toml"
    stated = tomllib.loads(project.read_text(encoding="utf-8"))["project"]
    import intracoder

    assert stated.get("version", intracoder.__version__) == intracoder.__version__
