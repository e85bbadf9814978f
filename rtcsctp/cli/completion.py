"""`rtcsctp completion`: what bash, zsh and fish need to complete a command line.

The scripts are made from the parsers, so they cannot differ from them. They are simple: where an
option's value is expected, its choices or files are offered; elsewhere options and commands.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence

import attrs

from rtcsctp.cli.arguments import AddParser, add_plain_command
from rtcsctp.cli.output import say

__all__ = ["SHELLS", "add_parser", "script"]

SHELLS = ("bash", "zsh", "fish")

_EXAMPLES = """\
examples:
  rtcsctp completion fish > ~/.config/fish/completions/rtcsctp.fish
  eval "$(rtcsctp completion bash)"                    (in ~/.bashrc)
  eval "$(rtcsctp completion zsh)"                     (in ~/.zshrc, after compinit)
"""


def add_parser(add: AddParser, root: argparse.ArgumentParser) -> None:
    """Add the command to those of `rtcsctp`, whose parser is `root`."""
    parser = add_plain_command(
        add,
        "completion",
        run,
        summary="print a script by which a shell completes command lines",
        description="Print a script that lets a shell complete commands, options and files.",
        epilog=_EXAMPLES,
    )
    parser.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    parser.set_defaults(root=root)


def run(arguments: argparse.Namespace) -> None:
    """Print the script."""
    say(script(arguments.root, arguments.shell))


@attrs.frozen
class _Option:
    names: tuple[str, ...]
    takes_value: bool
    choices: tuple[str, ...]
    help: str


@attrs.frozen
class _Command:
    words: tuple[str, ...]
    """What leads there: ("sctp", "send")."""
    options: tuple[_Option, ...]
    commands: tuple[tuple[str, str], ...]
    """Names and descriptions of commands below it."""
    choices: tuple[str, ...]
    """For what is no option."""


def script(root: argparse.ArgumentParser, shell: str) -> str:
    """The script for a shell.

    Args:
        root: the parser of the program.
        shell: one of `SHELLS`.
    """
    commands = list(_walk(root, ()))
    name = root.prog
    if shell == "fish":
        return _fish(name, commands)
    return _bash(name, commands) if shell == "bash" else _zsh(name, commands)


def _walk(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[_Command]:
    options: list[_Option] = []
    below: list[tuple[str, str]] = []
    choices: list[str] = []
    parsers: list[tuple[str, argparse.ArgumentParser]] = []
    for action in parser._actions:  # noqa: SLF001 (argparse has no other way to ask)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            helps = {one.dest: one.help or "" for one in action._choices_actions}  # noqa: SLF001
            below += [(name, _plain(helps.get(name, ""))) for name in action.choices]
            parsers += action.choices.items()
        elif action.option_strings:
            options.append(
                _Option(
                    tuple(action.option_strings),
                    action.nargs != 0,
                    tuple(map(str, action.choices or ())),
                    _plain(action.help or ""),
                )
            )
        else:
            choices += map(str, action.choices or ())
    yield _Command(words, tuple(options), tuple(below), tuple(choices))
    for name, parser_below in parsers:
        yield from _walk(parser_below, (*words, name))


def _plain(text: str) -> str:
    """A help text for a list of completions: its first part, as fish wants it in quotes."""
    first = re.split(r"; | \(|: |\. ", text.replace("%%", "%"))[0]
    return "".join(f"\\{one}" if one in "\\'" else one for one in first if one.isprintable())


def _function(name: str) -> str:
    return "_" + re.sub(r"\W", "_", name)


def _cases(commands: Sequence[_Command]) -> Iterator[str]:
    """For bash and zsh: what follows which option, and which words each command knows."""
    for command in commands:
        path = " ".join(command.words)
        offered = [name for option in command.options for name in option.names]
        offered += [name for name, _ in command.commands]
        offered += command.choices
        yield f'    "{path}") words="{" ".join(offered)}" ;;'


def _value_cases(commands: Sequence[_Command]) -> Iterator[str]:
    for command in commands:
        for option in command.options:
            if option.takes_value:
                patterns = "|".join(
                    f'"{" ".join((*command.words, name))}"' for name in option.names
                )
                yield f'    {patterns}) values="{" ".join(option.choices)}"; taken=1 ;;'


_COMMON = """\
  local path="" word i words="" values="" taken=""
  for ((i = {first}; i < {current}; i++)); do
    word="{word}"
    case "${{path:+$path }}$word" in
      {paths}) path="${{path:+$path }}$word" ;;
    esac
  done
  case "${{path:+$path }}{previous}" in
{values}
  esac
  case "$path" in
{words}
  esac
"""


def _common(commands: Sequence[_Command], **places: str) -> str:
    return _COMMON.format(
        paths="|".join(f'"{" ".join(command.words)}"' for command in commands if command.words),
        values="\n".join(_value_cases(commands)),
        words="\n".join(_cases(commands)),
        **places,
    )


def _bash(name: str, commands: Sequence[_Command]) -> str:
    common = _common(
        commands,
        first="1",
        current="COMP_CWORD",
        word="${COMP_WORDS[i]}",
        previous="${COMP_WORDS[COMP_CWORD - 1]}",
    )
    return f"""\
{_function(name)}() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}"
{common}
  if [ -n "$taken" ]; then words="$values"; fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o bashdefault -o default -F {_function(name)} {name}"""


def _zsh(name: str, commands: Sequence[_Command]) -> str:
    common = _common(
        commands,
        first="2",
        current="CURRENT",
        word="${words_typed[i]}",
        previous="${words_typed[CURRENT - 1]}",
    )
    return f"""\
#compdef {name}
{_function(name)}() {{
  local -a words_typed
  words_typed=("${{words[@]}}")
{common}
  if [ -n "$taken" ]; then words="$values"; fi
  if [ -n "$words" ]; then compadd -- ${{=words}}; fi
  if [ -z "$values" ]; then _files; fi
}}
compdef {_function(name)} {name}"""


def _fish(name: str, commands: Sequence[_Command]) -> str:
    lines = [f"complete -c {name} -e"]
    for command in commands:
        condition = _fish_condition(command, commands)
        for below, text in command.commands:
            lines.append(f"complete -c {name} {condition} -f -a {below} -d '{text}'")
        if command.choices:
            lines.append(f"complete -c {name} {condition} -f -a '{' '.join(command.choices)}'")
        for option in command.options:
            words = [
                f"-l {one[2:]}" if one.startswith("--") else f"-s {one[1:]}" for one in option.names
            ]
            if option.choices:
                words.append(f"-x -a '{' '.join(option.choices)}'")
            elif option.takes_value:
                words.append("-r")
            lines.append(f"complete -c {name} {condition} {' '.join(words)} -d '{option.help}'")
    return "\n".join(lines)


def _fish_condition(command: _Command, commands: Sequence[_Command]) -> str:
    """Where a command's words are offered: behind it, and before one of the commands below it."""
    tests = [f"__fish_seen_subcommand_from {word}" for word in command.words]
    if not command.words:
        names = " ".join(word for word, _ in commands[0].commands)
        tests = [f"not __fish_seen_subcommand_from {names}"]
    elif len(command.words) == 1 and command.words[0] != "sctp":
        # `rtcsctp sctp echo` must not be offered what a command of the same name has.
        tests.append("not __fish_seen_subcommand_from sctp")
    elif command.commands:
        names = " ".join(word for word, _ in command.commands)
        tests.append(f"not __fish_seen_subcommand_from {names}")
    return f"-n '{'; and '.join(tests)}'"
