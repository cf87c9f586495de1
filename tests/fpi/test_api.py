"""The public API: documented and importable from `fpi` (tests/scripts/test_docs.py: rendered by `make docs`)."""

from __future__ import annotations

import inspect

import pytest

import fpi


@pytest.mark.parametrize("name", fpi.__all__)
def test_every_public_name_says_what_it_does(name: str) -> None:
    thing = getattr(fpi, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing) or inspect.ismodule(thing)):
        return  # a type alias
    assert thing.__doc__ and not thing.__doc__.startswith(f"{name}("), "a dataclass without a docstring of its own"
