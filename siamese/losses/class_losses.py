"""Losses with a weight per identity, by name."""

from siamese.losses.class_centres import Center, LargeMarginGaussian
from siamese.losses.class_margin import ArcFace, CosFace, LargeMarginSoftmax, SphereFace, SubcenterArcFace
from siamese.losses.class_softmax import CrossEntropy
from siamese.losses.class_uniform import UniformFace
from siamese.losses.loss import ClassLoss

CLASS_LOSSES: dict[str, type[ClassLoss]] = {
    "cross_entropy": CrossEntropy,
    "center": Center,
    "large_margin_softmax": LargeMarginSoftmax,
    "lgm": LargeMarginGaussian,
    "sphereface": SphereFace,
    "cosface": CosFace,
    "arcface": ArcFace,
    "subcenter_arcface": SubcenterArcFace,
    "uniformface": UniformFace,
}
