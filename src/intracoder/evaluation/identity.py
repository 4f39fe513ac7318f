"""Whose face is it: identity transfer and leak, from embeddings that no training has seen.

With c the cosine, o the output, S the source's centroid, T the target, T' its centroid, G the truth (a perfect swap):

    NID  = (c(o,S) - c(T,S)) / (c(G,S) - c(T,S))        1: as much the source as the truth; 0: as the target
    leak = (c(o,T') - c(G,T')) / (c(T,T') - c(G,T'))    0: as little of the target left as in the truth; 1: all of it

Without truth, G is replaced by S itself: c(G,S) by c(S,S') and c(G,T') by c(S,T'). Hair, neck and skull stay the
target's in a perfect swap, so these naive values never reach 1 and 0 (docs/benchmarks.md has the typical ones).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from intracoder.records import Embedding, Embeddings

SPAN_MIN = 0.01
"""Least difference of cosines that a score may be divided by: under it the two people look alike to the embedder."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IdentityScores:
    """Per frame; NaN where no face was found, None where the score can't be normalised."""

    similarity: Float64[np.ndarray, "n"]
    """c(o, S)."""
    nid: Float64[np.ndarray, "n"] | None
    leak: Float64[np.ndarray, "n"] | None


def centroid(embeddings: Embeddings) -> Embedding:
    """Unit vector of the mean of the finite rows."""
    mean = embeddings[np.isfinite(embeddings).all(axis=1)].mean(axis=0)
    return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def cosines(embeddings: Embeddings, to: Embedding) -> Float64[np.ndarray, "n"]:
    """Cosine of each row with ``to``; NaN rows stay NaN."""
    return embeddings.astype(np.float64) @ to.astype(np.float64)


def _to_itself(embeddings: Embeddings) -> float | None:
    """Mean cosine of each picture to the centroid of the person's others; None from a single picture."""
    kept = embeddings[np.isfinite(embeddings).all(axis=1)].astype(np.float64)
    if len(kept) < 2:
        return None
    others = kept.sum(axis=0) - kept
    others /= np.linalg.norm(others, axis=1, keepdims=True)
    return float((kept * others).sum(axis=1).mean())


def identity_scores(
    output: Embeddings, target: Embeddings, source: Float32[np.ndarray, "m d"], truth: Embeddings | None
) -> IdentityScores:
    """Similarity, NID and leak of each output frame.

    Differences are divided by their mean over the clip, not frame by frame: a frame in which the two people look alike
    would otherwise decide the score.

    Args:
        output: One row per frame, NaN where no face was found.
        target: The same frames of the target.
        source: Any frames of the source.
        truth: The same frames of the truth; None for naive scores.
    """
    source_mean, target_mean = centroid(source), centroid(target)
    similarity, to_target = cosines(output, source_mean), cosines(output, target_mean)
    low, own = cosines(target, source_mean), cosines(target, target_mean)
    seen = np.isfinite(similarity) & np.isfinite(low)
    if not seen.any():
        return IdentityScores(similarity=similarity, nid=None, leak=None)
    low_mean, own_mean = float(low[seen].mean()), float(own[seen].mean())
    if truth is None:
        high = _to_itself(source)
        rest = float(source_mean.astype(np.float64) @ target_mean.astype(np.float64))
    else:
        high = float(np.nanmean(cosines(truth, source_mean)[seen]))
        rest = float(np.nanmean(cosines(truth, target_mean)[seen]))
    nid = leak = None
    if high is not None and high - low_mean >= SPAN_MIN:
        nid = (similarity - low) / (high - low_mean)
    if own_mean - rest >= SPAN_MIN:
        # the frame's own leak is added to the clip's mean, so that copy-target is 1 in every frame
        leak = (to_target - own) / (own_mean - rest) + 1.0
    return IdentityScores(similarity=similarity, nid=nid, leak=leak)
