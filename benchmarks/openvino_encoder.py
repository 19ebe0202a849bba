"""A graph of OpenVINO as an encoder: images a second by batch, against other ways to run it, and its memory.

Usage: python benchmarks/openvino_encoder.py openvino:GRAPH.xml[@SPEC.json] CROPS [ENCODER]

GRAPH is as for `siamese train --encoder`; CROPS is a folder of aligned images, of which 128 are taken; ENCODER is
another one (`mobilefacenet@FILE`) that torch runs eagerly in the same rounds, for a ratio that other machines can be
compared by. Every round runs everything once; the best of all is printed, as other processes only slow it down.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from siamese.device import usable_processors
from siamese.encoders.openvino_encoder import OpenVinoEncoder
from siamese.inference.verifier import Verifier
from siamese.openvino_library import core
from siamese.openvino_streams import OpenVinoStreams, stream_settings

IMAGES, ROUNDS = 128, 8
Run = Callable[[], object]


def load(name: str, crops: list[Path]) -> tuple[torch.nn.Module, torch.Tensor]:
    verifier = Verifier.load(name, device="cpu", runtime="torch")
    pixels, _ = verifier.prepare(crops)
    return verifier.network.encoder.eval(), torch.from_numpy(verifier.input_spec.normalise(pixels))


def in_batches(encoder: torch.nn.Module, images: torch.Tensor, batch: int) -> Run:
    @torch.inference_mode()
    def run() -> None:
        for start in range(0, len(images), batch):
            encoder(images[start : start + batch])

    return run


def in_pieces(encoder: OpenVinoEncoder, images: torch.Tensor, piece: int) -> Run:
    """What an export does: a graph that takes any number of images, given some at a time."""
    threads = usable_processors()
    compiled = core().compile_model(encoder.batch_graph(), "CPU", stream_settings(threads))
    streams = OpenVinoStreams(compiled, threads, encoder.feature_dim)
    pixels = images.numpy()
    np.testing.assert_allclose(streams.run(pixels[:9], piece), encoder(images[:9]).numpy(), atol=1e-3)
    return lambda: streams.run(pixels, piece)


def megabytes() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in status if line.startswith("VmRSS")).split()[1]) / 1024


def main(name: str, folder: str, other: str | None = None) -> None:
    torch.set_num_threads(usable_processors())
    crops = sorted(Path(folder).rglob("*.jpg"))[:IMAGES]
    encoder, images = load(name, crops)
    if not isinstance(encoder, OpenVinoEncoder):
        raise SystemExit(f"{name}: no graph of OpenVINO")
    before = megabytes()
    encoder(images[:1])
    print(f"{usable_processors()} processors; ready with the first image: {megabytes() - before:+.0f} MB")
    encoder(images)
    print(f"after a batch of {len(images)}: {megabytes() - before:+.0f} MB")
    runs = {f"forward, batches of {batch}": in_batches(encoder, images, batch) for batch in (1, 16, 32, 128)}
    runs |= {f"graph of any batch, pieces of {piece}": in_pieces(encoder, images, piece) for piece in (1, 8)}
    if other is not None:
        runs[f"{other.partition('@')[0]} on torch, batches of 32"] = in_batches(*load(other, crops), 32)
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for label, run in runs.items():
            start = time.perf_counter()
            run()
            best[label] = min(best[label], time.perf_counter() - start)
    reference = list(best.values())[-1]
    for label, seconds in best.items():
        print(f"{label:45} {len(images) / seconds:6.0f} images/s  {reference / seconds:5.2f} x the last line")


if __name__ == "__main__":
    main(*sys.argv[1:])
