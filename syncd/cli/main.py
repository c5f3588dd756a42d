"""`syncd`: parse, run one command, and turn whatever happened into an exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence

from syncd.cli import exits
from syncd.cli.arguments import parse, read_of
from syncd.cli.terminal import Output, discard_output, say
from syncd.client import Client, ClientError


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; SystemExit for --help, --version and wrong usage."""
    arguments = parse(argv)
    try:
        match arguments.command:
            case "run":
                from syncd.cli.run import run

                return run(arguments.config)
            case "check":
                from syncd.cli.check import look, show

                report = look(arguments.config)
                return _print(lambda output: show(report, output, as_json=arguments.json)) or report.exit_code
            case "snapshot" if arguments.offline:
                from syncd.cli.offline import Offline

                copies = Offline(arguments.offline, arguments.prefix, arguments.max_age)
                return _print(copies.show) or copies.exit_code
            case "demo":
                from syncd.cli.demo import demo

                return demo(keep=arguments.keep)
            case _:
                return _read(arguments)
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _read(arguments: argparse.Namespace) -> int:
    client = Client(arguments.socket)
    try:
        return _print(lambda output: _reader(arguments, client, output))
    except ClientError as error:
        say(exits.explain(error, client.socket_path))
        return exits.exit_code(error)


def _print(printing: Callable[[Output], None]) -> int:
    """Let a command print; the exit code that says whether all went out."""
    try:
        output = Output(sys.stdout)
        printing(output)
        output.flush()
    except BrokenPipeError:  # the output's; what happens to the socket is a ClientError
        discard_output()
        return exits.NO_READER
    except OSError as error:
        discard_output()
        say(f"cannot write to standard output: {error.strerror or error}")
        return exits.FAILED
    return exits.DONE


def _reader(arguments: argparse.Namespace, client: Client, output: Output) -> None:
    match arguments.command:
        case "get":
            from syncd.cli.get import get

            get(client, output, arguments.key, read_of(arguments), as_json=arguments.json)
        case "list":
            from syncd.cli.list import list_keys

            list_keys(client, output, arguments.prefix, read_of(arguments), as_json=arguments.json)
        case "snapshot":
            from syncd.cli.snapshot import snapshot

            snapshot(client, output, arguments.prefix, read_of(arguments))
        case "watch":
            from syncd.cli.watch import watch

            watch(client, output, arguments.prefix, after=arguments.after, as_json=arguments.json)
        case "accept":
            from syncd.cli.accept import accept

            accept(client, output, arguments.range)
        case "status":
            from syncd.cli.status import status

            status(client, output, as_json=arguments.json)
