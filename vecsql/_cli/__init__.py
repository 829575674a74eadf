"""The command line: a file for each kind of command. May import every folder of the package.

Commands open the file with apsw, whose SQLite is recent everywhere. What they need is imported
when they run, so that ``vecsql --help`` is quick. Exit status: 0 done, 1 an error, 2 wrong usage,
3 check found damage, 130 interrupted.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import click

from vecsql._cli import _data, _make, _measure, _query, _upkeep
from vecsql._cli._interrupt import INTERRUPTED, watched


class _Main(click.Group):
    """The group of commands: errors in one line, 130 at Ctrl-C."""

    def main(self, *arguments: Any, standalone_mode: bool = True, **more: Any) -> Any:
        run: Any = super().main
        if not standalone_mode:
            return run(*arguments, standalone_mode=False, **more)
        try:
            with watched():
                code = run(*arguments, standalone_mode=False, **more)
        except click.exceptions.NoArgsIsHelpError as e:
            e.show()
            code = e.exit_code
        except click.UsageError as e:
            help = f" ({e.ctx.command_path} --help)" if e.ctx is not None else ""
            _say(f"Error: {e.format_message()}{help}")
            code = e.exit_code
        except click.ClickException as e:
            _say(f"Error: {e.format_message()}")
            code = e.exit_code
        except (click.Abort, KeyboardInterrupt):
            _say("interrupted")
            code = INTERRUPTED
        except Exception as e:
            if os.environ.get("VECSQL_TRACEBACK"):
                raise
            _say(f"Error: {type(e).__name__}: {e}; VECSQL_TRACEBACK=1 shows where")
            code = 1
        sys.exit(code if isinstance(code, int) else 0)


def _say(message: str) -> None:
    click.echo(" ".join(message.split()), err=True)


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="vecsql")
def main() -> None:
    """SQLite as a vector database: nearest neighbours in SQL, in the same file.

    \b
    Exit status: 0 done, 1 an error (said on standard error), 2 wrong usage,
    3 check found damage, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # text from a database may be in any script
            stream.reconfigure(errors="replace")


for _command in (
    *_data.COMMANDS,
    *_make.COMMANDS,
    *_query.COMMANDS,
    *_upkeep.COMMANDS,
    *_measure.COMMANDS,
):
    main.add_command(_command)
