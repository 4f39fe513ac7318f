"""The watermark's error-correcting code: 6 payload bytes, CRC-16, convolutional code, soft Viterbi.

48 payload bits and 16 checksum bits become 216 coded bits. Because the code is linear, soft bits with random signs
decode to a uniformly random word, so that an unmarked picture passes the checksum with probability 2**-16.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64, UInt8

PAYLOAD_BYTES = 6
_INFO_BITS = 8 * PAYLOAD_BYTES + 16
_MEMORY = 8
_GENERATORS = (0o557, 0o663, 0o711)
CODED_BITS = (_INFO_BITS + _MEMORY) * len(_GENERATORS)
CHECKSUM_BITS = 16


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE of ``data``. Source: ITU-T V.41, polynomial 0x1021, start 0xFFFF."""
    register = 0xFFFF
    for byte in data:
        register ^= byte << 8
        for _ in range(8):
            register = ((register << 1) ^ 0x1021 if register & 0x8000 else register << 1) & 0xFFFF
    return register


def _outputs() -> UInt8[np.ndarray, "256 2 3"]:
    """Coded bits by (state, input bit, generator); a state holds the last 8 inputs, newest in the top bit."""
    state = np.arange(1 << _MEMORY)[:, None, None]
    register = (np.arange(2)[None, :, None] << _MEMORY) | state
    taps = register & np.array(_GENERATORS)[None, None, :]
    return np.asarray(np.bitwise_count(taps) & 1, np.uint8)


_OUTPUT = _outputs()


def encode_payload(payload: bytes) -> UInt8[np.ndarray, "216"]:
    """Coded bits, 0 or 1, of 6 bytes.

    Source: rate 1/3, constraint length 9, generators 557, 663, 711 (octal), as in 3GPP TS 25.212 section 4.2.3.1.

    Raises:
        ValueError: not 6 bytes.
    """
    if len(payload) != PAYLOAD_BYTES:
        raise ValueError(f"watermark payload: expected {PAYLOAD_BYTES} bytes, got {len(payload)}")
    word = payload + crc16(payload).to_bytes(2, "big")
    bits = np.concatenate([np.unpackbits(np.frombuffer(word, np.uint8)), np.zeros(_MEMORY, np.uint8)])
    state, coded = 0, []
    for bit in bits:
        coded.append(_OUTPUT[state, bit])
        state = (int(bit) << (_MEMORY - 1)) | (state >> 1)
    return np.concatenate(coded)


def decode_payload(soft: Float64[np.ndarray, "216"]) -> bytes | None:
    """The most likely payload where its checksum fits, else None.

    Args:
        soft: One value a coded bit; positive means 1, the size is how sure that is.

    Source: Viterbi 1967, maximum-likelihood over the trellis; start and end in state 0.
    """
    levels = soft.reshape(-1, len(_GENERATORS))
    signs = 2.0 * _OUTPUT - 1.0
    states = np.arange(1 << _MEMORY)
    newest = states >> (_MEMORY - 1)
    before = np.stack([(states << 1) & 0xFF, ((states << 1) & 0xFF) | 1])  # the two states that lead to each
    score = np.full(len(states), -np.inf)
    score[0] = 0.0
    came_from = np.empty((len(levels), len(states)), np.int64)
    for step, level in enumerate(levels):
        gain = signs @ level
        reached = score[before] + gain[before, newest]
        better = reached.argmax(axis=0)
        came_from[step] = before[better, states]
        score = reached[better, states]
    state, bits = 0, np.empty(len(levels), np.uint8)
    for step in range(len(levels) - 1, -1, -1):
        bits[step] = state >> (_MEMORY - 1)
        state = int(came_from[step, state])
    word = np.packbits(bits[:_INFO_BITS]).tobytes()
    payload, checksum = word[:PAYLOAD_BYTES], word[PAYLOAD_BYTES:]
    return payload if crc16(payload) == int.from_bytes(checksum, "big") else None
