"""What Hugging Face encoders of texts and of pictures share: where they come from, and what of them is trained.

transformers and peft are imported only where such an encoder is built, since they take seconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from unimr.errors import UnimrError
from unimr.files import write_json
from unimr.model_params import PretrainedParams

CAUSES = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError)
"""What transformers raises where a checkpoint cannot be had or does not fit."""
_LAYER = re.compile(r"(?:^|\.)layers?\.(\d+)\.")
_BEFORE_LAYERS = re.compile(r"(?:^|\.)(?:embeddings?|pre_layrnorm)\.")  # so spelt in CLIP


class HfEncoder(nn.Module):
    """A Hugging Face encoder, `backbone`, with what its parameters say of its training.

    Saved weights never hold adapters: they are merged into the backbone at the end of a stage, and the next stage
    begins its own. So a saved model needs no peft, costs no time for them, and exports like any other.
    """

    def __init__(self, params: PretrainedParams, backbone: nn.Module) -> None:
        super().__init__()
        self.params = params
        self.backbone: Any = backbone

    def train(self, mode: bool = True) -> Self:
        """Switch dropout on or off; a frozen backbone keeps it off."""
        super().train(mode)
        if self.params.train == "frozen":
            self.backbone.eval()
        return self

    def sparse_parameters(self) -> list[nn.Parameter]:
        """There are none."""
        return []

    def save_files(self, folder: Path) -> None:
        """Write what the encoder is built from beside its weights."""
        config = self.backbone.config.to_dict()
        config.pop("_name_or_path", None)  # where it came from is of no use elsewhere
        write_json(folder / "config.json", config)

    def begin_training(self) -> None:
        """Lock what is not to be trained, or lay adapters over the backbone.

        Raises:
            UnimrError: there are not so many layers, or peft is not installed.
        """
        if self.params.train == "lora":
            self._add_adapters()
        elif self.params.train == "frozen":
            self.backbone.requires_grad_(False)
        elif self.params.last_layers is not None:
            depth = self._layers()
            if self.params.last_layers > depth:
                raise UnimrError(f"last_layers is {self.params.last_layers}, and the encoder has {depth} layers.")
            for name, parameter in self.backbone.named_parameters():
                parameter.requires_grad_(_depth_of(name, depth) > depth - self.params.last_layers)

    def end_training(self) -> None:
        """Merge the adapters into the backbone, if there are any."""
        if self.params.train == "lora":
            self.backbone = self.backbone.merge_and_unload()

    def rate_scales(self) -> Iterator[tuple[nn.Parameter, float]]:
        """Every parameter of the backbone with the factor of its learning rate."""
        depth = self._layers()
        for name, parameter in self.backbone.named_parameters():
            below = depth + 1 - _depth_of(name, depth)
            yield parameter, self.params.rate_multiplier * self.params.layer_decay**below

    def _layers(self) -> int:
        found = [int(match[1]) for name, _ in self.backbone.named_parameters() if (match := _LAYER.search(name))]
        return max(found, default=-1) + 1

    def _add_adapters(self) -> None:
        require_package("peft", "`train: lora`")
        from peft import LoraConfig, get_peft_model

        if self.params.lora is None:
            raise ValueError("`train: lora` comes with the key `lora`")
        maps = [name for name, part in self.backbone.named_modules() if type(part) is nn.Linear and _LAYER.search(name)]
        lora = LoraConfig(r=self.params.lora.rank, lora_alpha=self.params.lora.alpha, target_modules=maps)
        self.backbone = get_peft_model(self.backbone, lora)


def _depth_of(name: str, layers: int) -> int:
    """Depth of a parameter: 0 in the embeddings, 1 in the first layer, `layers + 1` after the last one."""
    match = _LAYER.search(name)
    if match:
        return int(match[1]) + 1
    return 0 if _BEFORE_LAYERS.search(name) else layers + 1


def hf_encoders(module: nn.Module) -> list[HfEncoder]:
    """The Hugging Face encoders in a module."""
    return [part for part in module.modules() if isinstance(part, HfEncoder)]


def require_package(package: str, purpose: str) -> None:
    """Refuse what needs an optional package that is not there.

    Raises:
        UnimrError: it is not installed.
    """
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UnimrError(f"{purpose} needs the package {package}. Install it with: pip install 'unimr[encoders]'")


def build_backbone(params: PretrainedParams, saved: Path | None, part: str) -> Any:
    """The model of an encoder.

    Args:
        params: `name` says whose weights, or `config` what to begin from scratch.
        saved: the folder of an encoder that was trained; its weights are loaded afterwards by whoever has them.
        part: `text` or `image`, for messages; of a model of both, the half that is meant.

    Raises:
        UnimrError: the checkpoint cannot be had, is damaged, or is not of such a kind.
    """
    import transformers
    from transformers.initialization import no_init_weights

    with explained(f"model.{part}", params.name or params.config), quiet():
        config = _config(params, saved)
        config = getattr(config, "vision_config", config) if part == "image" else config
        if saved is not None:
            # Buffers that are not saved must be real ones even where the rest is built without memory.
            with torch.device("cpu"), no_init_weights():
                model = transformers.AutoModel.from_config(config, dtype=torch.float32)
        elif params.name and torch.get_default_device().type != "meta":
            model = _with_weights(params.name, config)
        else:
            model = transformers.AutoModel.from_config(config, dtype=torch.float32)
    if getattr(model, "pooler", None) is not None:
        model.pooler = None  # a head for another task; checkpoints often lack it
    return model


def _with_weights(name: str, config: Any) -> Any:
    import transformers

    model, info = transformers.AutoModel.from_pretrained(
        name, config=config, dtype=torch.float32, use_safetensors=True, output_loading_info=True
    )
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("pooler."))
    if missing:
        raise ValueError(f"its weights lack {', '.join(missing[:3])} and {max(0, len(missing) - 3)} more")
    return model


def _config(params: PretrainedParams, saved: Path | None) -> Any:
    import transformers

    if saved is not None or params.config is None:
        return transformers.AutoConfig.from_pretrained(saved or check_name(params.name))
    if "model_type" not in params.config:
        raise ValueError("`config` needs the key `model_type`, such as xlm-roberta")
    return transformers.AutoConfig.for_model(**params.config)


def check_name(name: str) -> str:
    """Refuse a path that is no folder before it is taken for a name on the hub.

    Raises:
        UnimrError: there is no such folder.
    """
    like_a_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    if like_a_path and not Path(name).is_dir():
        raise UnimrError(f"The folder {name} does not exist. Give the folder of a checkpoint, or a name on the hub.")
    return name


@contextmanager
def explained(place: str, what: object) -> Iterator[None]:
    """Say of which parameter an error of the library speaks, and what to do where the hub cannot be reached."""
    try:
        yield
    except CAUSES as error:
        reason = str(error).strip().split("\n")[0]
        raise UnimrError(
            f"{place}: {what} cannot be used ({reason}). A name needs the hub or its cache; where neither can be "
            "reached, fetch the checkpoint elsewhere (`hf download NAME --local-dir FOLDER`) and give the folder. "
            "It must hold config.json, model.safetensors and, for texts, tokenizer.json."
        ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Without the library's report on weights that are left out: what is missing is an error of ours."""
    from transformers.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        logging.enable_progress_bar()
