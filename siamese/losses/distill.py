"""Distillation: embeddings like those that a teacher gave of the same images."""

from typing import ClassVar

import torch
from torch import Tensor

from siamese.losses.loss import Loss, LossSize, Needs
from siamese.losses.ranges import check_at_least


class Distill(Loss):
    """The cosine to the teacher's embedding, and the teacher's similarities between the images of the batch.

    cosine * mean over i of (1 - z_i . t_i) + relational * mean over i != j of (z_i . z_j - t_i . t_j)^2, for the
    student's unit embeddings z of augmented images and the teacher's t of the same images as they are.

    The first term is that of feature distillation on the unit sphere: it hands over the teacher's space itself. The
    second hands over what a verifier decides by, the similarities, whatever the space is turned to (Tung and Mori,
    "Similarity-Preserving Knowledge Distillation", ICCV 2019, equation 4, and Park et al., "Relational Knowledge
    Distillation", CVPR 2019, equation 6; here on cosines, without their normalisation by the batch, since unit
    embeddings need none).

    Args:
        size: of the run; its `teacher_dim` is the width of the teacher's embeddings.
        cosine: weight of the first term, at least 0; it needs embeddings as wide as the teacher's.
        relational: weight of the second term, at least 0.

    Raises:
        ValueError: an option out of range, both 0, or embeddings of another width than the teacher's where the
            cosine counts.
    """

    needs: ClassVar[Needs] = "teacher"

    def __init__(self, size: LossSize, *, cosine: float = 1.0, relational: float = 5.0) -> None:
        super().__init__()
        check_at_least("cosine", cosine, 0)
        check_at_least("relational", relational, 0)
        if not cosine and not relational:
            raise ValueError("cosine and relational are both 0: nothing is learnt; expected one above 0")
        if cosine and size.teacher_dim not in (None, size.embedding_dim):
            raise ValueError(
                f"embeddings of {size.embedding_dim} have no cosine to the teacher's of {size.teacher_dim}; give "
                f"--embedding-dim {size.teacher_dim} with a head that has a width, or distill+cosine=0"
            )
        self._cosine, self._relational = cosine, relational

    def forward(self, embeddings: Tensor, index: Tensor) -> Tensor:
        """Loss of a batch, a scalar.

        Args:
            embeddings: the student's, shape (U, D), rows of unit length.
            index: the teacher's of the same images, shape (U, T), rows of unit length.
        """
        teacher = index.to(embeddings)
        total = embeddings.sum() * 0.0  # a part of the graph, also where one image has no relation
        if self._cosine:
            total = total + self._cosine * (1.0 - (embeddings * teacher).sum(dim=1)).mean()
        count = len(embeddings)
        if self._relational and count > 1:
            difference = embeddings @ embeddings.T - teacher @ teacher.T
            apart = ~torch.eye(count, dtype=torch.bool, device=embeddings.device)
            total = total + self._relational * difference[apart].square().mean()
        return total
