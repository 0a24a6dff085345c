"""llama.cpp in this process, without torch: one model, one thread, questions about one pair after another.

llama.cpp computes a prompt in pieces and keeps a copy of its state four tokens before each prompt's end. A pair is
therefore shown once with a text of such a length that the copy holds just the pictures::

    <|startoftext|><|im_start|>user [before] [after] | filler <|im_end|>         shown once: pictures are encoded
                                                     | question <|im_end|> ...   asked often: goes on from here
                                                     ^ state kept

Every question, the first as well, goes on from that state: in any order and company, it is computed in the same pieces
and has the same answer to the bit.
"""

from __future__ import annotations

import ctypes
import http.client
import importlib.metadata
import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from flightsim.errors import InputError, MissingExtra, RunError

from .chat import event_probability, refusal, reply_of
from .client import Lost
from .dialects import DIALECTS, TOP_LOGPROBS
from .engine import Finish, Picture, Question, Reply
from .profile import Profile
from .weights import Weights

#: Tokens at the end of a prompt before which llama.cpp keeps a copy of its state (server-context.cpp,
#: ``checkpoint_offsets``).
_KEPT_BEFORE = 4
#: Texts among which one fills up the end of a turn to that many tokens, whatever the tokenizer.
_FILLERS = ("", "?", "?!", "No.", "a b", "a b c", "a. b. c")
#: Room for the text of a question in the context. [token]
_TEXT_ROOM = 1024
#: Longest path of a Unix socket on Linux and macOS, without the closing zero. [byte] (sys/un.h)
_LONGEST_SOCKET = 103
#: Engines that have a model open, and the first process that has opened one.
_OPEN: weakref.WeakSet[LlamaCpp] = weakref.WeakSet()
_OPENED_BY = 0


class LlamaCpp:
    """A GGUF model with its projector and adapter, in llama.cpp.

    Parameters
    ----------
    weights
        The files, from ``open_weights(..., engine="llamacpp")``.
    adapter_scale
        Factor of the adapter's change. [-]

    Notes
    -----
    Deterministic to the bit on one kind of processor. It listens on a Unix socket in a private folder, for llama.cpp
    cannot do without, and nothing else; ``close`` removes both. What it gives is that of one thread: more processes,
    not threads, make it faster.

    Raises
    ------
    MissingExtra
        The package xllamacpp is not installed.
    """

    def __init__(self, weights: Weights, profile: Profile, adapter_scale: float = 1.0) -> None:
        if weights.gguf is None:
            raise InputError(f"model '{weights.name}' was opened for another engine than llamacpp.")
        try:
            self._version = importlib.metadata.version("xllamacpp")
        except importlib.metadata.PackageNotFoundError:
            raise MissingExtra("engine llamacpp needs the package xllamacpp: pip install xllamacpp.") from None
        self._files, self._gguf, self._profile, self._scale = weights, weights.gguf, profile, adapter_scale
        self._forget()

    def _forget(self) -> None:
        self._server: Any = None
        self._cleaned: weakref.finalize[..., Any] | None = None
        self._folder = Path()
        self._filler: str | None = None
        self._shown: tuple[Picture, Picture] | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A model is opened in the process that asks it, never carried there.
        return {"args": (self._files, self._profile, self._scale)}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(*state["args"])  # type: ignore[misc]

    @property
    def name(self) -> str:
        """``llamacpp`` and the numeric type."""
        return f"llamacpp {self._gguf.model.stem.rpartition('-')[2].lower()}"

    @property
    def fingerprint(self) -> str:
        """Changes with weights, adapter and its scale, numeric type and version of llama.cpp."""
        return f"{self.name} {self.weights} x{self._scale:g} xllamacpp {self._version}"

    @property
    def weights(self) -> str:
        """Digest of base and adapter, twelve hexadecimal digits."""
        return self._files.digest

    # Opening and closing ------------------------------------------------------------------------

    def open(self) -> None:
        """Load the model, unless this process has done so.

        Raises
        ------
        InputError
            llama.cpp cannot read a file, the adapter does not fit, or the folder for temporary files has too long a
            path.
        RunError
            This process is the fork of one in which llama.cpp was opened.
        """
        global _OPENED_BY
        if self._server is not None:
            return
        if _OPENED_BY not in (0, os.getpid()):
            raise RunError(
                "llama.cpp was opened before this process was forked, and its threads stayed behind: it cannot be used "
                "here. Fork before a model is opened, or start processes by spawn or loky."
            )
        import xllamacpp

        _OPENED_BY = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="fs-"))
        self._cleaned = weakref.finalize(self, _clean, self._folder, _OPENED_BY)
        try:
            self._server = xllamacpp.Server(self._settings(xllamacpp))
        except InputError:
            self.close()
            raise
        except (RuntimeError, ValueError) as error:
            self.close()
            files = ", ".join(
                f"'{path}'" for path in (self._gguf.model, self._gguf.projector, self._gguf.adapter) if path
            )
            raise InputError(
                f"llama.cpp cannot load {files}: {str(error).rstrip('.')}. A file is damaged or of a class that "
                f"xllamacpp {self._version} does not know, or the adapter was made for another base."
            ) from None
        finally:
            _give_back_signals()
        _OPEN.add(self)
        # A model that is let go before it has answered anything hangs: its loop may not have begun.
        self._call({"messages": [{"role": "user", "content": "?"}], "max_tokens": 1})
        self._filler = self._find_filler()

    def _settings(self, xllamacpp: Any) -> Any:
        gguf, tokens = self._gguf, self._profile.image_tokens
        address = self._folder / "s.sock"
        if len(os.fsencode(address)) > _LONGEST_SOCKET:
            raise InputError(
                f"the folder for temporary files, '{self._folder.parent}', has too long a path for a socket "
                f"({len(os.fsencode(address))} bytes, at most {_LONGEST_SOCKET}); set TMPDIR to a shorter one."
            )
        settings = xllamacpp.CommonParams()
        settings.model.path, settings.mmproj.path = str(gguf.model), str(gguf.projector)
        if gguf.adapter is not None:
            settings.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(gguf.adapter), self._scale)]
        settings.image_min_tokens, settings.image_max_tokens = tokens
        settings.n_ctx = -(-(2 * tokens[1] + _TEXT_ROOM + self._profile.max_tokens) // 256) * 256
        settings.n_parallel = 1
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
        settings.hostnames, settings.n_threads_http, settings.ui = [str(address)], 1, False
        # Pictures are read from here: as text within a request they cost as much as the question.
        settings.media_path = f"{self._folder}{os.sep}"
        # The bare parser keeps tool calls out of answers, but takes the start of the assistant's turn for the grammar's
        # first tokens: the grammar fails on them, says so on stderr alone, and the model writes freely.
        settings.use_jinja = True
        settings.force_pure_content_parser = self._profile.constraint == "none"
        settings.warmup, settings.fit_params, settings.verbosity = False, False, -1
        if self.name.endswith("f32"):
            # In full precision throughout; attention is else computed from keys and values in float16.
            settings.cache_type_k = settings.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
            settings.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        # With its own cache of prompts it grows by 65 kB a question.
        settings.cache_ram_mib = 0
        return settings

    def close(self) -> None:
        """Let the model go and remove the socket."""
        cleaned = self._cleaned
        self._forget()
        if cleaned is not None:
            cleaned()

    # Asking -------------------------------------------------------------------------------------

    def ask_many(self, questions: Sequence[Question]) -> list[Reply]:
        """Replies in the order of the questions; those about one pair are asked one after another.

        Raises
        ------
        InputError
            The model cannot be loaded.
        """
        self.open()
        replies: dict[int, Reply] = {}
        for places in _by_pair(questions):
            first = questions[places[0]]
            fault = self._refusal(first) or self._show(first.before, first.after)
            for place in places:
                replies[place] = Reply("", Finish.ERROR, fault=fault) if fault else self._ask(questions[place])
        return [replies[place] for place in range(len(questions))]

    def _refusal(self, question: Question) -> str:
        """Why a question cannot be asked; empty if it can. llama.cpp takes any picture and answers ``null``."""
        settings = self._profile.pictures
        for name, picture in (("before", question.before), ("after", question.after)):
            sides = picture.shape[:2]
            if not refusal(question) and not (settings.min_px <= min(sides) and max(sides) <= settings.max_px):
                return (
                    f"picture '{name}' has {sides[0]} x {sides[1]} px; this model is shown {settings.min_px} to "
                    f"{settings.max_px} px a side"
                )
        return refusal(question)

    def _show(self, before: Picture, after: Picture) -> str:
        """Have the pictures encoded; why that failed, or nothing."""
        if self._shown is not None and all(map(np.array_equal, self._shown, (before, after))):
            return ""
        self._shown = None
        for name, picture in (("before", before), ("after", after)):
            # Netpbm: a line of text, then the samples; nothing is packed or lost.
            head = f"P6 {picture.shape[1]} {picture.shape[0]} 255\n"
            (self._folder / f"{name}.ppm").write_bytes(head.encode() + np.ascontiguousarray(picture).tobytes())
        if self._filler is not None:
            told = self._call(_about_pair(self._filler) | {"max_tokens": 1, "add_generation_prompt": False})
            if "error" in told:
                return _told(told)
        self._shown = (before.copy(), after.copy())
        return ""

    def _ask(self, question: Question) -> Reply:
        body: dict[str, Any] = {
            **_about_pair(question.prompt),
            "max_tokens": self._profile.max_tokens,
            "logprobs": True,
            "top_logprobs": TOP_LOGPROBS,
            **DIALECTS["llama.cpp"].sampling(self._profile.sampling),
            "cache_prompt": True,
        }
        free = dict(body)
        if self._profile.constraint == "json_schema":
            schema = {"name": "verdict", "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        told = self._call(body)
        if "error" in told:
            # A grammar fails on logits that are no numbers, and does not say so.
            probe = self._call(free | {"max_tokens": 1}) if body != free else told
            broken = _fault_of_logits(probe)
            return Reply("", Finish.NUMERIC if broken else Finish.ERROR, fault=broken or _told(told))
        try:
            reply = reply_of(told)
        except Lost as lost:
            return Reply("", Finish.ERROR, fault=str(lost))
        return reply if _first_token_is_told(told) else replace(reply, event_probability=None)

    def _call(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            told = self._server.handle_chat_completions(dict(body))
        except (RuntimeError, ValueError) as error:
            return {"error": {"message": f"llama.cpp failed: {error}"}}
        return told if isinstance(told, dict) else {"error": {"message": f"llama.cpp answered {str(told)[:80]}"}}

    def _find_filler(self) -> str | None:
        """A text with which the end of a turn has just as many tokens as lie after the state that is kept."""
        mark = "@pictures@"
        asked = {"messages": [{"role": "user", "content": mark}], "add_generation_prompt": False}
        end = str(self._post("/apply-template", asked)["prompt"]).rpartition(mark)[2]
        for text in _FILLERS:
            tokens = self._post("/tokenize", {"content": text + end, "parse_special": True})["tokens"]
            if len(tokens) == _KEPT_BEFORE:
                return text
        return None

    def _post(self, path: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        connection = _Local(self._folder / "s.sock")
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            told: Mapping[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return told


class _Local(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=60)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _about_pair(text: str) -> dict[str, Any]:
    pictures = [{"type": "image_url", "image_url": {"url": f"file://{name}.ppm"}} for name in ("before", "after")]
    return {"messages": [{"role": "user", "content": [*pictures, {"type": "text", "text": text}]}]}


def _by_pair(questions: Sequence[Question]) -> list[list[int]]:
    """Places of questions about the same arrays, pairs in the order of their first question."""
    places: dict[tuple[int, int], list[int]] = {}
    for place, question in enumerate(questions):
        places.setdefault((id(question.before), id(question.after)), []).append(place)
    return list(places.values())


def _told(answer: Mapping[str, Any]) -> str:
    error = answer["error"]
    return str(error.get("message") if isinstance(error, dict) else error)[:300]


def _fault_of_logits(answer: Mapping[str, Any]) -> str:
    """What is broken about the logits of an answer; empty if nothing is, or none are told."""
    choices = answer.get("choices")
    try:
        event_probability(choices[0].get("logprobs") if choices else None)
    except ValueError as error:
        return str(error)
    return ""


def _first_token_is_told(answer: Mapping[str, Any]) -> bool:
    """Whether the first token that is told of is the first that was written.

    A token that ends within a character is told of together with the next, under the next one's probabilities.
    """
    told = (answer["choices"][0].get("logprobs") or {}).get("content") or ()
    if not told:
        return False
    same = [entry for entry in told[0].get("top_logprobs") or () if entry.get("id") == told[0].get("id")]
    return bool(same) and all(entry.get("bytes") == told[0].get("bytes") for entry in same)


def _give_back_signals() -> None:
    """llama.cpp's server takes Ctrl-C and termination for itself; hand them back to Python."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGINT, signal.SIGTERM):
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)


def _clean(folder: Path, owner: int) -> None:
    # A fork inherits this too, and must leave the socket to the process that has it.
    if os.getpid() == owner:
        shutil.rmtree(folder, ignore_errors=True)


def _after_fork() -> None:
    """In a fork the models' threads are missing; to free one would wait for them for ever, so none is ever freed."""
    for engine in list(_OPEN):
        if engine._server is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(engine._server))
        engine._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


__all__ = ["LlamaCpp"]
