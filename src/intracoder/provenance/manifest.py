"""What an output says of itself: the C2PA manifest, XMP, the AIGC tag and the container comment.

Nothing here names a file, a path or a person, and there is no thumbnail: the marks tell how a picture was made and
on what basis, not who is in it.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from xml.sax.saxutils import quoteattr

from intracoder.provenance.consent import ConsentGrant

TOOL = "Intracoder"
DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
CONSENT_LABEL = "io.github.intracoder.consent"
OUTPUT_LABEL = "io.github.intracoder.output"
SOFT_BINDING_ALGORITHM = "io.github.intracoder.tilemark.v1"
COMMENT = "AI-modified: a face in this {kind} was replaced (face swap). Made with Intracoder. Record {record_id}."

_SPEC_VERSION = "2.2.0"
_IPTC = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_AIGC = "http://www.tc260.org.cn/ns/AIGC/1.0/"
_PAYLOAD_SCHEME = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFacts:
    """What the marks of one output are made from."""

    record_id: uuid.UUID
    grants: tuple[ConsentGrant, ...]
    """Consent for the source; at least one."""
    model_sha256: str
    package_version: str
    is_still: bool
    label: str
    """badge or none."""
    disclosure: str
    """Where viewers are told, when the label is "none"."""

    @property
    def payload(self) -> bytes:
        """The mark's 6 bytes: scheme, then the first 40 bits of the record id."""
        return payload_of(self.record_id)

    @property
    def kind(self) -> str:
        """The word for the output: image or video."""
        return "image" if self.is_still else "video"


def payload_of(record_id: uuid.UUID) -> bytes:
    """The watermark payload of a record id."""
    return bytes([_PAYLOAD_SCHEME]) + record_id.bytes[:5]


def aigc_tag(record_id: uuid.UUID) -> str:
    """The implicit label of GB 45438-2025 as JSON: content made or changed by AI, and by what."""
    fields = {
        "Label": "1",
        "ContentProducer": TOOL,
        "ProduceID": str(record_id),
        "ReservedCode1": "",
        "ContentPropagator": "",
        "PropagateID": "",
        "ReservedCode2": "",
    }
    return json.dumps(fields, separators=(",", ":"))


def container_tags(record_id: uuid.UUID, *, is_still: bool) -> dict[str, str]:
    """Metadata entries of the container: ``comment``, which survives an ordinary transcode, and ``AIGC``."""
    kind = "image" if is_still else "video"
    return {"comment": COMMENT.format(kind=kind, record_id=record_id), "AIGC": aigc_tag(record_id)}


def xmp_packet(record_id: uuid.UUID, *, version: str) -> bytes:
    """An XMP packet with IPTC's digital source type and the AIGC tag, UTF-8.

    Source: ISO 16684-1 section 7.3 (packet), IPTC Photo Metadata 2023.1 (DigitalSourceType, AISystemUsed).
    """
    tool = quoteattr(f"{TOOL} {version}")
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about="" '
        f'xmlns:Iptc4xmpExt="{_IPTC}" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:TC260="{_AIGC}" '
        f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}" Iptc4xmpExt:AISystemUsed={tool} '
        f"xmp:CreatorTool={tool} TC260:AIGC={quoteattr(aigc_tag(record_id))}/></rdf:RDF></x:xmpmeta>"
        '<?xpacket end="w"?>'
    ).encode()


def manifest_json(facts: OutputFacts) -> str:
    """The manifest definition that c2pa is given.

    Source: C2PA 2.2 sections 9 (actions, soft binding), CAWG training and data mining 1.1, CAWG metadata 1.1.
    Assertions of other bodies than C2PA go among the gathered ones.
    """
    metadata = {"@context": {"Iptc4xmpExt": _IPTC}, "Iptc4xmpExt:DigitalSourceType": DIGITAL_SOURCE_TYPE}
    uses = ("ai_inference", "ai_generative_training", "ai_training", "data_mining")
    mining = {"entries": {f"cawg.{use}": {"use": "notAllowed"} for use in uses}}
    blocks = [{"scope": {}, "value": list(facts.payload)}]
    assertions = [
        _assertion("c2pa.actions.v2", {"actions": _actions(facts), "allActionsIncluded": True}, is_created=True),
        _assertion("c2pa.soft-binding", {"alg": SOFT_BINDING_ALGORITHM, "blocks": blocks}, is_created=True),
        _assertion("cawg.training-mining", mining, is_created=False),
        _assertion("cawg.metadata", metadata, is_created=False),
        _assertion(CONSENT_LABEL, {"records": _consents(facts.grants)}, is_created=False),
        _assertion(OUTPUT_LABEL, _output(facts), is_created=False),
    ]
    generator = {"name": TOOL, "version": facts.package_version, "specVersion": _SPEC_VERSION}
    definition = {"claim_generator_info": [generator], "title": f"AI-modified {facts.kind}", "assertions": assertions}
    return json.dumps(definition)


def _assertion(label: str, data: dict[str, Any], *, is_created: bool) -> dict[str, Any]:
    """One assertion of the definition."""
    return {"label": label, "created": is_created, "data": data}


def _actions(facts: OutputFacts) -> list[dict[str, Any]]:
    """Opened the target, placed the source's face, edited, marked."""
    face = {"identifier": "http://cv.iptc.org/newscodes/imageregiontype/human", "value": "face"}
    agent = {"name": TOOL, "version": facts.package_version}
    return [
        {"action": "c2pa.opened", "parameters": {"ingredientIds": ["target"]}},
        {
            "action": "c2pa.placed",
            "parameters": {"ingredientIds": ["source"]},
            "digitalSourceType": DIGITAL_SOURCE_TYPE,
        },
        {
            "action": "c2pa.edited",
            "digitalSourceType": DIGITAL_SOURCE_TYPE,
            "softwareAgent": agent,
            "description": f"A person's face in this {facts.kind} was replaced by a trained model (face swap).",
            "changes": [{"description": "face region", "region": [{"type": "identified", "item": face}]}],
        },
        {"action": "c2pa.watermarked.bound"},
    ]


def _consents(grants: Sequence[ConsentGrant]) -> list[dict[str, Any]]:
    """Hash and basis of every record; no identity."""
    return [{"basis": g.basis, "record_sha256": g.record_sha256, "countersigned": g.is_countersigned} for g in grants]


def _output(facts: OutputFacts) -> dict[str, Any]:
    """Record id, model, and how viewers are told."""
    told = {"visible_label": facts.label, **({"disclosure": facts.disclosure} if facts.label == "none" else {})}
    return {"record_id": str(facts.record_id), "model_sha256": facts.model_sha256, **told}
