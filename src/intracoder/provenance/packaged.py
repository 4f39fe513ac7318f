"""Consent records that the package itself carries, pinned by hash instead of signed.

A signature would need a private key in the package, with which anybody could sign as the package. So these
records are unsigned and count only while their hash is in PINNED_RECORDS, and for exactly the files they list:
the demo pair and the project's synthetic clips (people who do not exist), and the CC BY research photos.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from intracoder.provenance.consent_record import SignedRecord, parse_record

PINNED_RECORDS: frozenset[str] = frozenset(
    {
        "21a1efc048efe74d1a39fe4680921860d4b80ef4382e53ab36d8dcb3e71b75d6",  # synthetic_W
        "49743913062115d2d4ef13124f9fdd8b1534ea38401f7936d1f4a5f78407c659",  # synthetic_M
        "faa9c2f54c58e9179f4625a02a7461206acf99100536d658235ecd76ee2441ae",  # synthetic_A
        "b7d6e3497417f591f1db86c272b0ee4903b137b6ce3d45e4c9143c59c85fc30e",  # synthetic_H
        "73c309e61725365ab2caa36fffb8b0f0c8395dc330af9fc77aa8d6d0869e0a67",  # photos_london
        "2bf91dcc684f456a7f88ec6fc1e69a4209fc3b73c50bcd3bab4bd87e6162b2e2",  # photos_canada
        "c4399fc59d9c18e9f73234aa2eb94e4d2dff91db615a127a48a3e77c1327a5d0",  # photos_composite
    }
)
"""sha256 of the canonical form of each record in ``records/``."""


@cache
def packaged_records() -> tuple[SignedRecord, ...]:
    """The records in ``provenance/records``; one whose hash is not pinned is left out."""
    folder = files("intracoder.provenance") / "records"
    found = sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name)
    records = (parse_record(f.read_bytes(), where=f.name) for f in found)
    return tuple(r for r in records if r.record.sha256 in PINNED_RECORDS)
