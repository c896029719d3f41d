"""The one exception that is meant to be read by the person who ran the command."""


class UnimrError(Exception):
    """A failure with a cause the user can act on.

    The message says what is wrong, where, and what to do. The command line prints it as one paragraph,
    without a traceback, and exits with status 1.
    """
