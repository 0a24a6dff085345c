"""What all commands share: how results and errors are told, and commands that are loaded only when they are called."""

from __future__ import annotations

import ast
import copy
import functools
import importlib
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import click

from .errors import FlightsimError, InputError, MissingExtra, PluginError

SCENARIO = click.argument("file", metavar="FILE")
SETTINGS = click.option(
    "--set", "settings", multiple=True, metavar="PATH=VALUE", help="Change one value, such as link.payload_share=0.5."
)
AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
INTERRUPTED = "interrupted; what was written is no finished run"

#: Entry-point group of commands that other packages offer: a name, and a click command.
GROUP = "flightsim.commands"
#: A progress bar is shown for what takes longer. [s]
_PATIENCE_S = 2.0


def told(command: Callable[..., Any]) -> Callable[..., Any]:
    """Our errors become their message on stderr and an exit code; a traceback is a defect."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (InputError, MissingExtra) as error:
            click.echo(str(error), err=True)
            raise SystemExit(2) from None
        except FlightsimError as error:
            click.echo(f"the run failed: {error}", err=True)
            raise SystemExit(1) from None
        except BrokenPipeError:
            # The reader of the pipe has gone (`| head`); Python would complain once more at exit.
            sys.stdout = None
            raise SystemExit(0) from None
        except OSError as error:
            where = f" '{error.filename}'" if error.filename else ""
            click.echo(f"the file system said no{where}: {error.strerror or error}", err=True)
            raise SystemExit(2) from None
        except KeyboardInterrupt:
            click.echo(INTERRUPTED, err=True)
            raise SystemExit(130) from None

    return wrapped


def print_json(value: Any) -> None:
    """Print a result as JSON; NaN is refused."""
    click.echo(json.dumps(value, indent=2, allow_nan=False))


def print_table(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[tuple[str, str, Callable[[Any], str]]]
) -> None:  # fmt: skip
    """Print aligned columns of (key, heading, format)."""
    cells = [[heading for _, heading, _ in columns]]
    cells += [[form(row[key]) for key, _, form in columns] for row in rows]
    widths = [max(len(line[k]) for line in cells) for k in range(len(columns))]
    lines = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in cells)
    click.echo("\n".join(lines))


def settings_of(text: str | None) -> dict[str, Any] | None:
    """A plug-in's settings from the option ``--with``.

    Raises
    ------
    InputError
        It is no JSON object.
    """
    try:
        given = json.loads(text) if text else None
    except ValueError as error:
        raise InputError(f"--with is no JSON: {error}.") from None
    if given is not None and not isinstance(given, dict):
        raise InputError('--with must be a JSON object, such as {"min_confidence": 0.7}.')
    return given


def progress_bar(
    quiet: bool, label: str = "flying", clock: Callable[[], float] = time.monotonic
) -> tuple[Callable[[float], None] | None, Callable[[], None]]:
    """A bar on a terminal for what takes longer than two seconds, nothing in a pipe: a step and a close."""
    if quiet or not sys.stderr.isatty():
        return None, lambda: None
    started, bar, shown = clock(), click.progressbar(length=100, label=label, file=sys.stderr), [-1]

    def step(share: float) -> None:
        if shown[0] < 0 and clock() - started > _PATIENCE_S:
            bar.__enter__()
            shown[0] = 0
        if shown[0] >= 0:
            # What is done may come to be a smaller share when more turns out to be needed.
            bar.update(max(0, int(100 * share) - shown[0]))
            shown[0] = max(shown[0], int(100 * share))

    return step, lambda: bar.__exit__(None, None, None) if shown[0] >= 0 else None


# Commands that are loaded when they are called ------------------------------------------------------------------------


class LazyGroup(click.Group):
    """Commands of this package, some in modules of their own, and those that other packages offer.

    A command elsewhere is an entry point of the group ``flightsim.commands``. Listing the commands imports none of
    them: the line of help is read from the source of the module.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._elsewhere = dict(elsewhere or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all commands, sorted."""
        return sorted({*super().list_commands(ctx), *self._elsewhere, *_offered()})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name; its module is imported."""
        if cmd_name in self.commands:
            return super().get_command(ctx, cmd_name)
        if cmd_name in self._elsewhere:
            return _imported(cmd_name, self._elsewhere[cmd_name])
        point = _offered().get(cmd_name)
        return None if point is None else _foreign(point)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands; none of those elsewhere is imported for it."""
        targets = {**{name: point.value for name, point in _offered().items()}, **self._elsewhere}
        names = self.list_commands(ctx)
        limit = formatter.width - 6 - max(map(len, names))
        rows = []
        for name in names:
            shown = self.commands.get(name)
            if shown is None:
                shown = click.Command(name, help=_first_line(targets[name]) or f"a command of {targets[name]}.")
            rows.append((name, shown.get_short_help_str(limit)))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def _offered() -> dict[str, metadata.EntryPoint]:
    """Commands that installed packages offer, by name."""
    return {point.name: point for point in metadata.entry_points(group=GROUP)}


def _imported(name: str, target: str) -> click.Command:
    module, _, attribute = target.partition(":")
    found = getattr(importlib.import_module(module), attribute, None)
    if not isinstance(found, click.Command):
        raise PluginError(f"command '{name}' is offered as {target}, which is no click command.")
    return found


def _foreign(point: metadata.EntryPoint) -> click.Command:
    """A command of another package, whose errors are told as ours are; also those that its import raises."""
    from .registry import guard

    try:
        guard(point.module)
        command = _imported(point.name, point.value)
    except ImportError as error:
        failed: Exception = _missing(point, error)
    except FlightsimError as error:
        failed = error
    else:
        mine = copy.copy(command)
        mine.callback = told(_with_extras(command.callback, point)) if command.callback else None
        return mine
    return click.Command(point.name, callback=told(_raising(failed)), **_SWALLOW)


#: A command that cannot be loaded takes whatever it is given, and tells why it cannot be loaded.
_SWALLOW: Mapping[str, Any] = {
    "context_settings": {"ignore_unknown_options": True, "help_option_names": []},
    "params": [click.Argument(["arguments"], nargs=-1, type=click.UNPROCESSED)],
    "add_help_option": False,
}


def _raising(error: Exception) -> Callable[..., Any]:
    def call(**_: Any) -> Any:
        raise error

    return call


def _with_extras(command: Callable[..., Any], point: metadata.EntryPoint) -> Callable[..., Any]:
    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except ModuleNotFoundError as error:
            raise _missing(point, error) from error

    return wrapped


def _missing(point: metadata.EntryPoint, error: ImportError) -> FlightsimError:
    """What to install for a command: the extra of its name where its package has one."""
    package = (error.name or "").partition(".")[0]
    owner = point.dist.name if point.dist is not None else "its package"
    if not isinstance(error, ModuleNotFoundError) or not package or importlib.util.find_spec(package) is not None:
        return PluginError(
            f"command '{point.name}' of {owner} ({point.value}) does not load: {type(error).__name__}: {error}."
        )
    extras = (point.dist.metadata.get_all("Provides-Extra") or []) if point.dist is not None else []
    line = f"pip install '{owner}[{point.name}]'" if point.name in extras else f"pip install {package}"
    return MissingExtra(f"flightsim {point.name} needs the package '{package}', which is not installed: {line}")


def _first_line(target: str) -> str:
    """First line of the docstring of a function, read from the source of its module; empty where it is not to be read.

    Packages on the way are imported, the module itself is not.
    """
    module, _, attribute = target.partition(":")
    try:
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None or not spec.origin.endswith(".py"):
            return ""
        tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    except (ImportError, OSError, SyntaxError, ValueError):
        # A list of commands is no place to fail; calling the command tells what is wrong.
        return ""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == attribute:
            return (ast.get_docstring(node) or "").partition("\n")[0]
    return ""


__all__ = [
    "AS_JSON", "GROUP", "INTERRUPTED", "SCENARIO", "SETTINGS", "LazyGroup", "print_json", "print_table",
    "progress_bar", "settings_of", "told",
]  # fmt: skip
