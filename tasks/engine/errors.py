"""The engine's own errors. Hydra prints them as one paragraph, without a traceback, and exits with status 1."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from difflib import get_close_matches

from hydra.errors import CompactHydraException, InstantiationException

ROOM_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class ConfigError(CompactHydraException):
    """A config that cannot be run: names the key, what was expected and the fix. Nothing was written."""


class JobFailedError(CompactHydraException):
    """A job that started and failed; failed.json in its directory has the traceback."""


class NotDistributedError(ValueError):
    """Several devices were asked for a module that trains in one process only."""


class HelperError(RuntimeError):
    """A process that trained together with this one has ended."""


class CheckpointError(RuntimeError):
    """A checkpoint that this code cannot continue from."""


def choices(wrong: str, there: Iterable[str], listed: Iterable[str] | None = None) -> str:
    """ " Did you mean NEAR? There are: ..." of a name that is not there; `listed`: what is named instead of all."""
    near = get_close_matches(wrong, there := list(there), n=1)
    guess = f" Did you mean {near[0]}?" if near else ""
    names = ", ".join(there if listed is None else listed)
    return guess + (f" There are: {names}." if names else "")


def root_cause(error: BaseException) -> BaseException:
    """The error that a user can act on: Hydra's wrapper around a constructor's error is taken off."""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    return error


def out_of_room(error: BaseException | None) -> bool:
    """Whether a full disk, quota or file-size limit is what the error, or one it came from, says."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in ROOM_ERRORS:
            return True
        error = error.__cause__ or error.__context__
    return False


def describe(error: BaseException) -> str:
    """The error in a line: its kind and text, or what the system says, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror + (f": {error.filename}" if error.filename else "")
    return f"{type(error).__name__}: {error}"


def said(error: BaseException) -> str:
    """The text of an error that names what is wrong; of the system's, what `describe` says."""
    return describe(error) if isinstance(error, OSError) and error.strerror else str(error)


def hint(error: BaseException) -> str:
    """What to do about an error inside a job, in one sentence."""
    if out_of_room(error):
        return "No room left to write: free space (or choose another results_dir=), then run the same command again."
    if isinstance(error, CheckpointError):
        return "Run with force=true to move this directory aside and train anew."
    if type(error).__name__ == "OutOfMemoryError" or isinstance(error, MemoryError):
        return "Out of memory: choose a smaller batch or run fewer jobs at a time (hydra.launcher.n_jobs=1)."
    return "Correct the cause and run the same command again: finished jobs are skipped, this one goes on where it was."
