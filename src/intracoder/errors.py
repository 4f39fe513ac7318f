"""The exception tree, and the exit code that each branch means.

IntracoderError            1  a run failed
├── ConfigError            2  an option, a config file or a usage is wrong
├── MediaError             1  a picture, clip or folder can't be read or written
├── WeightsError           1  a pretrained file or a trained model can't be used
│   └── ChecksumError      1  ... because its bytes are not those of the manifest
├── FaceSetError           1  a face set folder or its faces.db can't be used
├── NoFaceError            1  no usable face where one is needed
├── TrainingError          1  training can't start or go on
├── TrainingStoppedError   1  the user stopped a training
├── BlendError             1  a blend could not be solved
├── RefusedError           3  the tool declines
│   ├── ConsentError       3  ... because consent is missing, wrong or withdrawn
│   └── GuardError         3  ... because the content guard says no, or can't say anything
├── ProvenanceError        1  a mark, manifest or ledger can't be written
└── VerificationError      4  a file was changed after it was signed

Every message is one line: what, where, expected, got, what to do.
"""

from __future__ import annotations

from typing import ClassVar


class IntracoderError(Exception):
    """Root of every error that the package raises on purpose."""

    exit_code: ClassVar[int] = 1


class ConfigError(IntracoderError, ValueError):
    """An option, config key or usage is wrong."""

    exit_code: ClassVar[int] = 2


class MediaError(IntracoderError):
    """A picture, clip or folder can't be read or written."""


class WeightsError(IntracoderError):
    """A pretrained file or a trained model can't be used."""


class ChecksumError(WeightsError):
    """A file's bytes are not those that the manifest names."""


class FaceSetError(IntracoderError):
    """A face set folder or its database can't be used."""


class NoFaceError(IntracoderError):
    """No usable face where one is needed."""


class TrainingError(IntracoderError):
    """Training can't start or go on."""


class TrainingStoppedError(IntracoderError):
    """The user stopped a training; the message says what was kept. No TrainingError, because nothing failed."""


class BlendError(IntracoderError):
    """A blend could not be solved."""


class RefusedError(IntracoderError):
    """The tool declines to do this."""

    exit_code: ClassVar[int] = 3


class ConsentError(RefusedError):
    """Consent for the source is missing, wrong, expired or withdrawn."""


class GuardError(RefusedError):
    """The content guard refuses, or could not score (it fails closed)."""


class ProvenanceError(IntracoderError):
    """A mark, manifest or ledger entry can't be written."""


class VerificationError(IntracoderError):
    """A file was changed after it was signed."""

    exit_code: ClassVar[int] = 4
