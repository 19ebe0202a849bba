"""Whether an occlusion map shows what the similarity comes from: what covering its highest tenth costs.

    python benchmarks/explanation_faithfulness.py ENCODER DEV_TEST CROPS [PAIRS]

ENCODER is an encoder for faces with its weights (`mobilefacenet@FILE`), DEV_TEST LFW's `pairsDevTest.txt`, CROPS the
aligned crops of LFW (as `siamese align` writes them). Of every PAIRS-th part (25) of its genuine pairs, one pair: the
tenth of the pixels with the highest values is covered, and the same shape at twenty random places (round the edges).
Printed is how much the similarity drops by either, for patches of the mean colour and of the blurred image.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from siamese.inference.explain import Explanation, covered_similarities, explain
from siamese.inference.occlusion import FILLS, cover, fill_of
from siamese.inference.verifier import Verifier

PLACES = 20
GENUINE = 500  # pairs of pairsDevTest, which come first


def pairs_of(protocol: Path, crops: Path, number: int) -> list[tuple[Path, Path]]:
    """Some genuine pairs, evenly spread over the file."""
    rows = [row.split("\t") for row in protocol.read_text(encoding="utf-8").splitlines()[1 : GENUINE + 1]]
    chosen = rows[:: len(rows) // number][:number]
    first, second = ([crops / row[0] / f"{row[0]}_{int(row[side]):04d}.jpg" for row in chosen] for side in (1, 2))
    return list(zip(first, second, strict=True))


def drops(verifier: Verifier, found: Explanation, rng: np.random.Generator) -> NDArray[np.float64]:
    """By how much the similarity drops, shape (2, 1 + PLACES): a map's top tenth covered, and its shape moved."""
    whole = verifier.embed_pixels(found.crops)
    lost = []
    for side, each in enumerate(found.maps):
        top = np.zeros(each.size, bool)
        top[np.argsort(-each.ravel(), kind="stable")[: each.size // 10]] = True
        top = top.reshape(each.shape)
        moved = [np.roll(top, rng.integers(1, each.shape), (0, 1)) for _ in range(PLACES)]
        copies = cover(found.crops[side], np.array([top, *moved]), fill_of(found.crops[side], found.fill))
        lost.append(found.similarity - covered_similarities(verifier, copies, whole, side))
    return np.array(lost)


def main() -> None:
    encoder, protocol, crops = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    pairs = pairs_of(protocol, crops, int(sys.argv[4]) if len(sys.argv) > 4 else 25)
    verifier = Verifier.load(encoder, device="cpu")
    for fill in FILLS:
        rng = np.random.default_rng(0)
        lost = np.concatenate([drops(verifier, explain(verifier, *pair, fill=fill), rng) for pair in pairs])
        top, elsewhere = lost[:, 0], lost[:, 1:]
        maps, single = (top > elsewhere.mean(1)).sum(), (top[:, None] > elsewhere).mean()
        print(f"{fill}: {len(pairs)} pairs, {len(lost)} maps")
        print(f"  the top tenth covered costs {top.mean():.3f}, its shape elsewhere {elsewhere.mean():.3f}")
        print(f"  more than the mean of its shapes in {maps} maps, than single ones in {single:.1%}")


if __name__ == "__main__":
    main()
