"""One batch out of the shares of several processes, so that losses see every embedding of it.

Each process encodes its share, then all compute the same loss of the whole batch. The gradient that reaches a
process's own embeddings is the sum over processes of that loss's gradients; the average over processes that DDP takes
then is the gradient of one process with the whole batch.
"""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from siamese.training.batches import Batch


def gather_batch(embeddings: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """The embeddings of all processes with gradients, and a batch that indexes them; unchanged for one process.

    Args:
        embeddings: of this process's images, shape (U, D).
        batch: this process's share.

    Returns:
        Embeddings (sum of U, D), and the batch with tuples, labels and rows of all; its `inputs` stay this process's.
    """
    if not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return embeddings, batch
    lengths = _lengths(len(embeddings), embeddings.device)
    gathered, rows = (torch.cat(_gather_rows(each, lengths)) for each in (embeddings, batch.rows))
    if batch.labels is not None:
        order = _dealt(lengths, embeddings.device)
        labels = torch.cat(_gather_rows(batch.labels, lengths))[order]
        teacher = None if batch.teacher is None else torch.cat(_gather_rows(batch.teacher, lengths))[order]
        return gathered[order], batch._replace(rows=rows[order], labels=labels, teacher=teacher)
    tuples = _lengths(len(batch.columns[0]), embeddings.device)
    order = _dealt(tuples, embeddings.device)
    before = sum(lengths[: dist.get_rank()])
    columns = tuple(torch.cat(_gather_rows(column + before, tuples))[order] for column in batch.columns)
    same = None if batch.same is None else torch.cat(_gather_rows(batch.same, tuples))[order]
    whole = batch._replace(rows=rows, columns=columns, same=same)
    if batch.teacher is None:
        return gathered, whole
    return _each_once(gathered, whole._replace(teacher=torch.cat(_gather_rows(batch.teacher, lengths))))


def _each_once(embeddings: Tensor, batch: Batch) -> tuple[Tensor, Batch]:
    """The same without images that came in several shares: a teacher's relations count each two images once."""
    assert batch.teacher is not None  # noqa: S101 - asked for with one
    rows, places = torch.unique(batch.rows, return_inverse=True)
    numbers = torch.arange(len(batch.rows), device=places.device)
    first = torch.full_like(rows, len(numbers)).scatter_reduce_(0, places, numbers, "amin")
    columns = tuple(places[column] for column in batch.columns)
    return embeddings[first], batch._replace(rows=rows, columns=columns, teacher=batch.teacher[first])


def _dealt(lengths: list[int], device: torch.device) -> Tensor:
    """Order of the concatenated shares in which they were dealt out, one to each process in turn.

    With it what a loss draws by position (mining, dropout) is the same as in one process.
    """
    counts = torch.tensor(lengths, device=device)
    ranks = torch.repeat_interleave(torch.arange(len(lengths), device=device), counts)
    turns = torch.cat([torch.arange(length, device=device) for length in lengths])
    return torch.argsort(turns * len(lengths) + ranks)


def _lengths(length: int, device: torch.device) -> list[int]:
    return [int(count) for count in _gather(torch.tensor([length], device=device))]


def _gather_rows(values: Tensor, lengths: list[int]) -> list[Tensor]:
    """`values` of every process, whose lengths differ: padded to the longest for the transport."""
    padding = values.new_zeros((max(lengths) - len(values), *values.shape[1:]))
    everyone = _gather(torch.cat((values, padding)))
    return [part[:length] for part, length in zip(everyone, lengths, strict=True)]


def _gather(values: Tensor) -> list[Tensor]:
    if values.requires_grad:
        return list(_Gather.apply(values))
    found = [torch.empty_like(values) for _ in range(dist.get_world_size())]
    dist.all_gather(found, values.contiguous())
    return found


class _Gather(torch.autograd.Function):
    """The values of all processes (world, N, D); backwards, the sum of what reaches this process's in all of them."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        found = [torch.empty_like(values) for _ in range(dist.get_world_size())]
        dist.all_gather(found, values.contiguous())
        return torch.stack(found)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total[dist.get_rank()]
