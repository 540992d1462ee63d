"""The exception for problems that a user can solve."""


class UserError(Exception):
    """Bad input, configuration or environment; its text says what, where, and what to do. Shown without a traceback."""
