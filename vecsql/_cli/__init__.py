"""The command line: one file for each kind of command, all of them registered here.

Commands open the file with apsw, whose SQLite is recent everywhere. What they need is imported
when they run, so that ``vecsql --help`` is quick. Exit status: 0 done, 1 an error, 2 wrong usage,
3 check found damage, 130 interrupted.
"""

from __future__ import annotations

import io
import sys

import click

from vecsql._cli import _data, _measure, _query, _upkeep


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
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


for _command in (*_data.COMMANDS, *_query.COMMANDS, *_upkeep.COMMANDS, *_measure.COMMANDS):
    main.add_command(_command)
