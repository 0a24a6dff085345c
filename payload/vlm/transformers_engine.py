"""transformers + peft as engine: base folder and adapter folder in torch, many questions at a time, offline."""

from __future__ import annotations

import contextlib
import gc
import importlib.metadata
import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flightsim.errors import InputError, MissingExtra

from .decoding import Decoder, refusal
from .engine import Finish, Question, Reply
from .processor import has_torchvision, open_processor
from .profile import Profile

if TYPE_CHECKING:
    from .weights import Weights

#: Packages of the extra [vlm] without which no model is loaded.
PACKAGES = ("torch", "transformers", "peft", "safetensors")
DEVICES = ("cuda", "mps", "cpu")
DTYPES = ("float32", "bfloat16", "float16")
MODEL_TYPE = "lfm2_vl"


class Transformers:
    """Asks a model of the LFM2-VL family in this process.

    Parameters
    ----------
    weights
        Base and adapter, as ``open_weights(folder, adapter, "transformers")`` found them.
    device
        ``cuda``, ``mps`` or ``cpu``; by default the first of them that is there.
    dtype
        ``float32``, ``bfloat16`` or ``float16``; by default bfloat16 on cuda and float32 elsewhere. On a CPU with
        bfloat16 instructions a model of 450 M answers two to three times as fast in bfloat16 and in half the memory;
        the shipped one is slower in it, question by question.
    batch
        Most questions that are answered together.

    Raises
    ------
    InputError
        A setting is none of the allowed ones.
    MissingExtra
        A package of the extra [vlm] is not installed.
    """

    def __init__(
        self, weights: Weights, profile: Profile, device: str | None = None, dtype: str | None = None, batch: int = 16
    ) -> None:
        require_packages()
        self._weights, self._profile = weights, profile
        self.device = _chosen("device", device, DEVICES) or first_device()
        self.dtype = _chosen("dtype", dtype, DTYPES) or ("bfloat16" if self.device == "cuda" else "float32")
        if batch < 1:
            raise InputError(f"batch is {batch}; it must be 1 or more.")
        self.batch = batch
        self._decoder: Decoder | None = None

    @property
    def name(self) -> str:
        """``transformers``, numeric type and device."""
        return f"transformers {self.dtype} {self.device}"

    @property
    def weights(self) -> str:
        """Digest of base and adapter, twelve hexadecimal digits."""
        return self._weights.digest

    @property
    def fingerprint(self) -> str:
        """Changes with weights, adapter, numeric type, device, and versions of what computes the answers."""
        names = ["torch", "transformers", "peft", "pillow", "torchvision" if has_torchvision() else ""]
        names += ["llguidance"] if self._profile.constraint == "json_schema" else []
        versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in names if name)
        return f"{self.name} {self.weights} {versions}"

    def open(self) -> None:
        """Load model, adapter, tokenizer and picture processor, all from their folders.

        Raises
        ------
        InputError
            A file is missing, broken, or does not fit the others; or the device is not there.
        """
        if self._decoder is not None:
            return
        import torch

        # More threads than free cores wait for each other: with one neighbour, two are fifteen times as slow as one.
        torch.set_num_threads(1)
        check_device(self.device)
        base = self._weights.base
        processor = open_processor(base, self._profile.image_tokens)
        with _told(base):
            tokenizer = load_tokenizer(base)
            model = load_model(base, self._weights.adapter, getattr(torch, self.dtype), self.device)
        self._decoder = Decoder(model, tokenizer, processor, self._profile)

    def close(self) -> None:
        """Let the model go, and its memory."""
        self._decoder = None
        gc.collect()
        if self.device == "cuda":
            import torch

            torch.cuda.empty_cache()

    def ask_many(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies in the order of the questions; one that cannot be asked gets a reply that says why.

        Raises
        ------
        InputError
            A batch does not fit into the device's memory.
        """
        self.open()
        assert self._decoder is not None
        replies: dict[int, Reply] = {}
        asked = []
        for place, question in enumerate(questions):
            fault = refusal(question)
            if fault:
                replies[place] = Reply("", Finish.ERROR, fault=fault)
            else:
                asked.append(place)
        with quiet():
            for start in range(0, len(asked), self.batch):
                part = asked[start : start + self.batch]
                replies.update(zip(part, self._answer([questions[place] for place in part]), strict=True))
        return [replies[place] for place in range(len(questions))]

    def _answer(self, questions: Sequence[Question]) -> list[Reply]:
        import torch

        assert self._decoder is not None
        try:
            return self._decoder.answer(questions)
        except torch.OutOfMemoryError:
            raise InputError(
                f"{len(questions)} questions together do not fit into the memory of device '{self.device}'; "
                f"choose a batch below {len(questions)}, or dtype bfloat16."
            ) from None


def require_packages() -> None:
    """Check that the extra [vlm] is installed, without importing it.

    Raises
    ------
    MissingExtra
        It is not.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise MissingExtra(
            f"engine 'transformers' needs {', '.join(missing)}. Install it with: pip install 'flightsim[vlm]' "
            "(on Linux without a GPU first: pip install torch --index-url https://download.pytorch.org/whl/cpu), or "
            "choose engine 'llamacpp', which needs no torch."
        )


def first_device() -> str:
    """The first device of cuda, mps and cpu that is there."""
    # torch takes seconds to import, and this is asked before it is known whether any answer is needed.
    if importlib.metadata.version("torch").endswith("+cpu"):
        return "cpu"
    import torch

    return next(name for name in DEVICES if _is_there(torch, name))


def check_device(name: str) -> None:
    """Check that torch can use a device.

    Raises
    ------
    InputError
        It cannot.
    """
    import torch

    if not _is_there(torch, name):
        there = ", ".join(other for other in DEVICES if _is_there(torch, other))
        raise InputError(f"device is '{name}', which torch {torch.__version__} does not find here; there is {there}.")


def _is_there(torch: Any, name: str) -> bool:
    return name == "cpu" or bool(torch.cuda.is_available() if name == "cuda" else torch.backends.mps.is_available())


def _chosen(what: str, given: str | None, allowed: tuple[str, ...]) -> str | None:
    if given in (None, "auto"):
        return None
    if given not in allowed:
        raise InputError(f"{what} is '{given}'; allowed are auto, {', '.join(allowed)}.")
    return given


# -------------------------------------------------------------------- loading


def load_tokenizer(base: Path) -> Any:
    """The base folder's fast tokenizer, with chat template."""
    from transformers import PreTrainedTokenizerFast

    # Not AutoTokenizer: it obeys class names and code references in files that somebody else wrote.
    with quiet():
        return PreTrainedTokenizerFast.from_pretrained(base, local_files_only=True)


def load_model(base: Path, adapter: Path | None, dtype: Any, device: str) -> Any:
    """The model in evaluation mode, its adapter merged where the numeric type loses nothing by it.

    Raises
    ------
    InputError
        The base is of another class, or weights of base or adapter are missing or have another shape.
    """
    from transformers import Lfm2VlForConditionalGeneration

    kind = json.loads((base / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind != MODEL_TYPE:
        raise InputError(f"{base}: model_type is '{kind}'; this engine runs '{MODEL_TYPE}' (LFM2-VL, LFM2.5-VL).")
    with quiet():
        model, told = Lfm2VlForConditionalGeneration.from_pretrained(
            base, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True
        )
    # Weights that are not there would be drawn at random, with no more than a log line.
    for fault in ("missing_keys", "mismatched_keys", "error_msgs"):
        if told.get(fault):
            names = ", ".join(str(name) for name in list(told[fault])[:3])
            raise InputError(f"{base}: {len(told[fault])} weights do not fit config.json ({fault}): {names}.")
    if adapter is not None:
        model = with_adapter(model, adapter, base)
        if str(dtype) == "torch.float32":
            model = model.merge_and_unload()
    return model.to(device).eval().requires_grad_(False)


def with_adapter(model: Any, adapter: Path, base: Path) -> Any:
    """The model with a LoRA adapter around it.

    Raises
    ------
    InputError
        The adapter has other layers or shapes than the base.
    """
    import peft

    settings = peft.PeftConfig.from_pretrained(str(adapter))
    settings.inference_mode = True
    with quiet():
        tuned = peft.PeftModel(model, settings)
        told = tuned.load_adapter(str(adapter), "default", is_trainable=False, torch_device="cpu")
    if told.missing_keys or told.unexpected_keys:
        names = ", ".join([*told.missing_keys, *told.unexpected_keys][:3])
        raise InputError(
            f"{adapter}: the adapter does not fit base {base}: {len(told.missing_keys)} of its layers have no weights "
            f"and {len(told.unexpected_keys)} weights no layer, such as {names}."
        )
    return tuned


@contextlib.contextmanager
def _told(base: Path) -> Iterator[None]:
    """What libraries say of files that do not fit, as one message."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        told = " ".join(str(error).split())[:400]
        raise InputError(f"{base}: the model cannot be loaded: {type(error).__name__}: {told}") from error


class _Harmless(logging.Filter):
    """Lets everything through but what is known to be said of a model that is right."""

    #: LFM2's convolutions have a CUDA kernel of their own; without it they run in plain torch, to the same result.
    #: LFM2.5-VL's tokenizer_config.json asks for a clean-up of blanks that transformers rightly does not do.
    TEXTS = (("causal_conv1d", "falling back to its reference PyTorch"), ("Ignoring clean_up_tokenization_spaces",))

    def filter(self, record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not any(all(part in message for part in parts) for parts in self.TEXTS)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the harmless warnings of transformers, and those alone; progress bars too."""
    from transformers.utils import logging as told

    handlers = list(logging.getLogger("transformers").handlers)
    harmless, bars = _Harmless(), told.is_progress_bar_enabled()
    for handler in handlers:
        handler.addFilter(harmless)
    told.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            # peft asks transformers by a name that transformers is about to drop.
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            yield
    finally:
        for handler in handlers:
            handler.removeFilter(harmless)
        if bars:
            told.enable_progress_bar()


__all__ = [
    "DEVICES", "DTYPES", "PACKAGES", "Transformers", "check_device", "first_device", "load_model", "load_tokenizer",
    "quiet", "require_packages", "with_adapter",
]  # fmt: skip
