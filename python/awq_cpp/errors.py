"""What goes wrong, as exceptions: the sentence is the one that the command line prints, `exit_code` the one it ends
with.
"""


class Error(Exception):
    """Anything that the library refuses or fails at. Subclasses say what kind, and are the usual Python types too."""

    kind = "failure"
    exit_code = 1


class UsageError(Error, ValueError):
    """Options that contradict each other or make no sense."""

    kind = "usage"
    exit_code = 2


class BadInputError(Error, ValueError):
    """A model, tokenizer or text that is invalid or not supported."""

    kind = "bad_input"
    exit_code = 3


class NoRoomError(Error, MemoryError):
    """Host memory, device memory or disk does not suffice."""

    kind = "no_room"
    exit_code = 4


class DeviceError(Error, RuntimeError):
    """Driver or device; also "Kernel version not supported on this hardware: ..."."""

    kind = "device"
    exit_code = 5


class ExistsError(Error, FileExistsError):
    """The output exists or is in use."""

    kind = "exists"
    exit_code = 6


class CheckFailedError(Error):
    """A verification ran and said no."""

    kind = "check_failed"
    exit_code = 7


class Interrupted(Error):
    """Stopped from outside; Ctrl-C itself is KeyboardInterrupt, as everywhere in Python."""

    kind = "interrupted"
    exit_code = 130


by_exit_code = {
    row.exit_code: row
    for row in (Error, UsageError, BadInputError, NoRoomError, DeviceError, ExistsError, CheckFailedError, Interrupted)
}
