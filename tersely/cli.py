"""The `tersely` command line.

Exit codes: 0 done · 1 any other error · 2 wrong usage · 3 the model · 4 the engine · 70 a defect of tersely ·
130 interrupted. With `--json`, errors are JSON too, on standard output.
"""

from __future__ import annotations

import sys
import traceback
from typing import Annotated

import typer

from model.errors import InternalError, TerselyError
from tersely import __version__
from tersely.commands import complete, demo, doctor, engine, lsp, models, page, refactor, rule, stop, train
from tersely.commands.output import fail

app = typer.Typer(
    name="tersely",
    help="The coding copilot that you run yourself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    epilog="Exit codes: 0 done, 1 other errors, 2 usage, 3 model, 4 engine, 70 a defect of tersely, 130 interrupted.",
)
# `-:3:5` (standard input, line 3) is a place, not an option.
app.command("complete", context_settings={"ignore_unknown_options": True})(complete.command)
app.command("lsp")(lsp.command)
app.command("engine")(engine.command)
app.command("page")(page.command)
app.command("stop")(stop.command)
app.command("doctor")(doctor.command)
app.command("demo")(demo.command)
app.command("refactor")(refactor.command)
app.command("train")(train.command)
app.command("corpus")(train.corpus_command)
app.add_typer(models.app, name="model")
app.add_typer(rule.app, name="rule")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"tersely {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The coding copilot that you run yourself."""


def run() -> None:
    """Run the command of sys.argv; turn every error that a user can meet into words and an exit code."""
    try:
        app()
    except BrokenPipeError:
        # Whoever read our output has gone (`tersely … | head`): that is no error of ours.
        sys.stderr.close()
        sys.exit(0)
    except TerselyError as error:
        sys.exit(fail(error, as_json="--json" in sys.argv))
    except Exception as error:  # noqa: BLE001 - the last line of defence: whatever it is, it is ours, and says so.
        traceback.print_exception(error)
        defect = InternalError(f"{type(error).__name__}: {error}", hint="Please report it with the lines above.")
        sys.exit(fail(defect, as_json="--json" in sys.argv))
    except KeyboardInterrupt:
        sys.exit(130)
