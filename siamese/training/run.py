"""The parts of a run, built in the order in which each needs the one before."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from siamese.config import TrainConfig
from siamese.config_file import write_config_file
from siamese.encoders.registry import create_encoder
from siamese.images.catalog import root_of
from siamese.losses.loss import LossSize
from siamese.losses.objective import Objective
from siamese.losses.registry import ObjectiveSpec, parse_objective
from siamese.model.embedding import embed_pixels
from siamese.model.network import SiameseNetwork
from siamese.progress import log
from siamese.training.batches import EpochBatches
from siamese.training.build import batch_kind, build_network, is_verifier
from siamese.training.checkpoint import LAST
from siamese.training.data import RunData, read_run_data
from siamese.training.identity_head import class_means, give_identity_head, means_head
from siamese.training.inputs import Inputs, prepare_inputs
from siamese.training.kept_pairs import RunPairs, kept_pairs
from siamese.training.lessons import Lessons
from siamese.training.module import SiameseModule, classifier_of
from siamese.training.pairs import prepare_pairs
from siamese.training.processes import first_goes_ahead, is_first, share
from siamese.training.provenance import describe_data, resume_provenance, write_provenance
from siamese.training.run_folder import CONFIG, RUN
from siamese.training.run_start import describe_start
from siamese.training.teacher import embed_files, load_teacher, see_alike, teach
from siamese.training.teacher_pairs import Judge


class Run:
    """Data, network, objective and batches of a run; `close` lets go of the data.

    Args:
        config: what to do.
        folder: the model folder; everything of the run is in `folder/run`.
        device: of this process.
        resume: take what an earlier run kept there.

    Attributes:
        path: the run folder.
        encoder: as it came.
        network: what is trained, on `device`.
        objective: what is minimised, on `device`.
        data: the images of the run and what is known of them.
        lessons: what a teacher embeds the training images to; None without one.
        inputs: where batches get their inputs from.
        plan: what fills batches.
        module: network and objective as Lightning sees them.

    Raises:
        SiameseError: whatever in the data or the options makes the run impossible.
    """

    def __init__(self, config: TrainConfig, folder: Path, device: str, *, resume: bool = False) -> None:
        self.config, self.device, self.path = config, device, folder / RUN
        self._resume = resume
        spec = parse_objective(config.objective)
        self._kind = batch_kind(config, spec)
        torch.manual_seed(config.seed)
        self.encoder = create_encoder(config.encoder, input_size=config.input_size)
        self._teacher = None if config.teacher is None else load_teacher(config.teacher)
        if self._teacher is not None:
            see_alike(self.encoder, self._teacher)
        width = None if self._teacher is None else self._teacher.feature_dim
        self.network = build_network(self.encoder, config, like=width)
        with first_goes_ahead():
            self.pairs: RunPairs = self._prepare_pairs(spec)
            self.data: RunData = read_run_data(config, self.encoder.input_spec, self.pairs, device, self.path)
        try:
            if is_first():
                self._note_provenance()
            self._build(spec)
        except BaseException:
            self.close()
            raise

    def _prepare_pairs(self, spec: ObjectiveSpec) -> RunPairs:
        if self._resume or not is_first():
            return kept_pairs(self.path)
        # A verifier gains from more impostors: genuine pairs alone pull its space together (docs/decisions.md).
        ratio = "1:9" if is_verifier(self.encoder) else "1:1"
        pairs = prepare_pairs(
            self.config, kind=self._kind, folder=self.path, ratio=ratio, judge=self._judge_of_images()
        )
        (self.path / LAST).unlink(missing_ok=True)  # of a run that --force gave up: not to be resumed as this one
        defaults = {name: field.default for name, field in TrainConfig.model_fields.items()}
        write_config_file(self.path / CONFIG, self.config.model_dump(mode="json"), defaults)
        return pairs

    def _judge_of_images(self) -> Judge | None:
        if self._teacher is None:
            return None
        teacher, root = self._teacher, root_of(self.config.data)
        return lambda paths: embed_files(teacher, self.config, root, paths, self.device)

    def _note_provenance(self) -> None:
        names = ("data", "pairs", "val_pairs", "identities")
        given = {name: getattr(self.config, name) for name in names}
        files = {name: path for name, path in given.items() if path is not None and path.is_file()}
        described = describe_data(self.pairs.root, self.data.paths, files, self.encoder.weights)
        start = describe_start(self.device)
        if not self._resume:
            write_provenance(self.path, start, described)
            return
        for line in resume_provenance(self.path, start, described):
            log.warning("--resume: %s; the end may differ from that of an undisturbed run", line)

    def _build(self, spec: ObjectiveSpec) -> None:
        if not spec.classes and self._kind == "identities":
            self.data = self.data.without_singles()
        self._learn_lessons()
        config, data, network = self.config, self.data, self.network.to(self.device)
        self.inputs: Inputs = prepare_inputs(config, network, data, self.device, self.path, means=spec.classes)
        teacher_dim = None if self.lessons is None else self.lessons.dim
        size = LossSize(network.embedding_dim, len(data.identities), teacher_dim)
        self.objective: Objective = spec.build(size, pair_logits=network.pair_head)
        give_identity_head(network, self.objective)
        self.objective.to(self.device)
        self.plan = data.plan(config, self._kind, singles=spec.classes)
        self.module = SiameseModule(
            network, self.objective, config, batches=self.batches, epochs=config.epochs, cached=self.inputs.cached
        )

    def _learn_lessons(self) -> None:
        """Let the teacher, where there is one, embed the training images, and leave out those that it cannot use."""
        self.lessons: Lessons | None = None
        if self._teacher is not None:
            paths = [self.data.paths[row] for row in self.data.rows]
            embeddings, usable = teach(self._teacher, self.config, self.pairs.root, paths, self.device, self.path)
            self.lessons = Lessons(embeddings, self.data.rows[usable])
            self._teacher = None  # nothing more to say
            self.data = self.data.taught(self.lessons.rows)

    def batches(self, epoch: int) -> EpochBatches:
        """The batches of an epoch, counted from 0, or this process's share of them."""
        return EpochBatches(
            self.plan,
            self.inputs.source,
            seed=self.config.seed,
            epoch=epoch,
            share=share(),
            lessons=self.lessons,
        )

    def start_classes(self) -> SiameseNetwork:
        """Let losses with a weight per identity start from class means.

        Returns:
            The untouched encoder, on the run's device, with an identity head of its own class means where the loss
            trains one: what the run has to beat.
        """
        baseline = SiameseNetwork(self.encoder).to(self.device)
        classifier = classifier_of(self.objective)
        if classifier is not None:
            untouched, start = class_means((baseline, self.network), self.inputs.images, self.data)
            baseline.identity_head = means_head(untouched, classifier.scale).to(self.device)
            for loss in self.objective.class_losses.values():
                loss.imprint(start.to(self.device))
        return baseline

    def embed_plain(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Unit embeddings (N, D) of images of the run as they are, by the network as it is."""
        return embed_pixels(self.network, self.data.cache.pixels, rows, device=self.device)

    def close(self) -> None:
        """Let go of the pixels."""
        self.data.cache.close()
