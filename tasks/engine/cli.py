"""Arguments of the scripts that Hydra does not start: a task and key=value pairs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from hydra.errors import CompactHydraException

from tasks.engine import console
from tasks.engine.config import experiments
from tasks.engine.errors import ConfigError, describe, hint, out_of_room
from tasks.engine.store import ROOT


def task_names() -> list[str]:
    """The tasks that have a config and experiments."""
    names = sorted(path.stem for path in (ROOT / "configs" / "task").glob("*.yaml"))
    return [name for name in names if experiments(name)]


def groups() -> dict[str, list[str]]:
    """{package: its tasks} of the packages with several tasks of which none has the package's name."""
    names = task_names()
    parts = [name.partition("-")[0] for name in names]
    return {
        part: [name for name in names if name.startswith(f"{part}-")]
        for part in dict.fromkeys(parts)
        if part not in names
    }


@dataclass(frozen=True)
class Script:
    """The command line of a script: words, then key=value pairs. A key that is false by default is written --key, too.

    Args:
        name: the file in scripts/.
        title: what it does, a sentence.
        keys: {key: (default, meaning)}; the default "" is none.
        words: what stands before the keys, as the usage shows it; TASK, or TASK|all where `all` is a word for it, too.
        more: what other keys are; "" if there are none.
    """

    name: str
    title: str
    keys: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    words: str = ""
    more: str = ""

    @property
    def defaults(self) -> dict[str, str]:
        return {key: default for key, (default, _) in self.keys.items()}

    @property
    def usage(self) -> str:
        parts = [self.words, *(f"[{self._written(key)}]" for key in self.keys), "[key=value ...]" if self.more else ""]
        return " ".join(["usage: python", f"scripts/{self.name}", *filter(None, parts)])

    def help(self) -> str:
        """The title, the usage, and a line a task, key and option."""
        lines = {"TASK": f"one of {', '.join(self.tasks())}"} if self.words.startswith("TASK") else {}
        lines |= {self._written(key): meaning for key, (_, meaning) in self.keys.items()}
        lines |= {"key=value": self.more} if self.more else {}
        width = max(map(len, lines), default=0)
        return "\n".join([self.title, self.usage, *(f"  {left:{width}}  {right}" for left, right in lines.items())])

    def tasks(self) -> list[str]:
        """What may stand for TASK: tasks, names of `groups`, and the script's own word."""
        return sorted({*task_names(), *groups()}) + self.words.split("|")[1:]

    def parse(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
        """(words, {key: value}), without defaults; --help is answered, and ends the process with status 0.

        Raises ConfigError for a key or an option that the script does not take.
        """
        if {"-h", "--help"} & set(arguments):
            print(self.help())
            sys.exit(0)
        options = {self._written(key): f"{key}=true" for key in self.keys if self._is_option(key)}
        words, pairs = split_pairs([options.get(argument, argument) for argument in arguments])
        for argument in arguments:
            if argument.startswith("-") and argument not in options:
                raise ConfigError(self._no_option(argument))
        if not self.more and (unknown := sorted(pairs.keys() - self.keys.keys())):
            raise ConfigError(f"unknown key '{unknown[0]}': {self._takes()}")
        if words and not self.words:
            raise ConfigError(f"'{words[0]}' is not key=value; {self.usage}")
        return words, pairs

    def parse_task(self, arguments: Sequence[str]) -> tuple[str, dict[str, str]]:
        """(task, {key: value}) of `TASK [key=value ...]`. Raises ConfigError for an unknown task or another form."""
        words, pairs = self.parse(arguments)
        usage = f"{self.usage}, with TASK one of {', '.join(self.tasks())}"
        if not words or words[0] != arguments[0]:
            raise ConfigError(usage)
        if words[0] not in self.tasks():
            raise ConfigError(f"unknown task '{words[0]}'; {usage}")
        if len(words) > 1:
            raise ConfigError(f"'{words[1]}' is not key=value; {self.usage}")
        return words[0], pairs

    def _is_option(self, key: str) -> bool:
        return self.keys[key][0] == "false"

    def _written(self, key: str) -> str:
        return "--" + key.replace("_", "-") if self._is_option(key) else f"{key}={self.keys[key][0] or 'NAME'}"

    def _no_option(self, argument: str) -> str:
        name, _, value = argument.lstrip("-").partition("=")
        if (key := name.replace("-", "_")) in self.keys:
            return f"{argument} is not an option: settings are written without dashes, {key}={value or 'VALUE'}."
        return f"unknown option {argument}: {self._takes()}"

    def _takes(self) -> str:
        known = [*map(self._written, self.keys), *filter(None, [self.more])]
        return f"{self.name} takes {', '.join(known) or self.words}."


def split_pairs(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """(words, {key: value}) of a command line of words and key=value pairs."""
    words = [argument for argument in arguments if "=" not in argument]
    return words, dict(argument.split("=", 1) for argument in arguments if "=" in argument)


def as_bool(key: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise ConfigError(f"{key}={value} is not valid: expected true or false.")
    return value == "true"


def exit_with(main: Callable[[Sequence[str]], int]) -> None:
    """Run `main` on the command line's arguments; the engine's errors end it with one paragraph and status 1."""
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)  # the process that was interrupted has said so
    except (CompactHydraException, ValueError) as error:
        console.error(str(error))
        sys.exit(1)
    except OSError as error:
        console.error(f"{describe(error)}\n  {hint(error)}" if out_of_room(error) else describe(error))
        sys.exit(1)
