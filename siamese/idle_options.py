"""Options that the other options leave nothing to do: a mistake, and never passed over."""

from typing import TYPE_CHECKING

from siamese.errors import OptionError

if TYPE_CHECKING:
    from siamese.config import TrainConfig


def check_no_option_is_idle(config: "TrainConfig") -> None:
    """Refuse a value other than the default where nothing would look at it.

    A configuration that a run saved names every option, so what was given cannot be told from what was not; the
    default is always accepted.

    Raises:
        OptionError: the first such option, what it belongs to, and what this run has instead.
    """
    falls = config.schedule in ("step", "plateau")
    idle = {
        "momentum": (config.optimizer == "sgd", "--optimizer sgd", config.optimizer),
        "step_epochs": (falls, "--schedule step or plateau", config.schedule),
        "gamma": (falls, "--schedule step or plateau", config.schedule),
        "pair_hidden": (config.pair_head is not None, "a --pair-head", "none"),
        "pair_dropout": (config.pair_hidden > 0, "--pair-hidden above 0", config.pair_hidden),
        "teacher": ("distill" in config.objective, "--loss distill", config.objective),
        "views": (config.augment != "none", "an --augment preset", config.augment),
        "face": (config.align != "no", "--align", config.align),
    }
    for name, (used, belongs, instead) in idle.items():
        value = getattr(config, name)
        if not used and value != type(config).model_fields[name].default:
            option = name.replace("_", "-")
            raise OptionError(f"--{option} {value}: belongs to {belongs}, and this run has {instead}; leave it out")
