"""The entry point. Commands are found by their names; only the one called is imported."""

from __future__ import annotations

import os
import sys

import click

from wattlaw import __version__
from wattlaw.core.errors import WattlawError, nearest
from wattlaw.core.plugins import COMMANDS, how_to_install, load, plugins


class Commands(click.Group):
    """A group whose commands are the files of this package."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted(plugins(COMMANDS))

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in plugins(COMMANDS):
            return None
        command: click.Command = load(COMMANDS, name)
        return command

    def resolve_command(
        self, context: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in plugins(COMMANDS) and not args[0].startswith("-"):
            context.fail(f"no such command {args[0]!r}; {nearest(args[0], plugins(COMMANDS))}")
        return super().resolve_command(context, args)


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="wattlaw")
def wattlaw() -> None:
    """Measure what training a neural network costs in time and energy, learn how the cost scales,
    and choose the setting to run next.

    \b
    Start with:  wattlaw doctor                      what can be measured here
                 wattlaw measure -- python train.py  time and energy of any command
                 wattlaw study run quickstart        three workloads, a report, advice
    """


def main(args: list[str] | None = None) -> None:
    """Run the command line; errors become one line on stderr and exit code 1 or 2."""
    try:
        status = wattlaw.main(args, standalone_mode=False)
    except click.exceptions.Exit as stop:
        status = stop.exit_code
    except click.ClickException as error:
        command = "wattlaw"
        if isinstance(error, click.UsageError) and error.ctx:
            command = error.ctx.command_path
        print(f"{command}: {error.format_message()}", file=sys.stderr)
        status = 2
    except click.Abort:
        status = 130
    except WattlawError as error:
        print(f"wattlaw: {error}", file=sys.stderr)
        status = error.exit_code
    except BrokenPipeError:
        # the reader of the output ended, as `| head` does; avoid Python's error message at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        # such as a full disk behind stdout; errors of record files are explained where they are
        # written
        file, reason = error.filename or "the output", error.strerror or error
        print(f"wattlaw: {file}: {reason}", file=sys.stderr)
        sys.stdout = None  # Python would try to write the rest at exit
        status = 1
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in ("", "wattlaw"):
            raise
        print(f"wattlaw: this needs {package}: {how_to_install(package)}", file=sys.stderr)
        status = 1
    sys.exit(status if isinstance(status, int) else 0)


if __name__ == "__main__":
    main()
