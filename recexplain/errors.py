"""What can be wrong with an input: errors that a caller may want to catch, and the check that most options need."""

from numbers import Integral


class RecExplainError(Exception):
    """Any error of ours: its message is one sentence for the person who gave the input."""


class DataError(RecExplainError, ValueError):
    """A ratings file or frame that cannot be read as it stands; the sentence names file, line and column."""


class OptionError(RecExplainError, ValueError):
    """An option outside what is allowed; the sentence says what is."""


class CheckpointError(RecExplainError, ValueError):
    """A checkpoint that is missing, damaged, of another version, or does not fit the data."""


class UnknownIdError(RecExplainError, KeyError):
    """A user or an item that the data does not hold."""

    def __str__(self) -> str:
        return str(self.args[0])  # KeyError would put the sentence in quotes


def is_whole(value: object, least: int) -> bool:
    """Whether an option is a whole number, not below the least that is allowed, that files can hold (below 2^31)."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) < 2**31
