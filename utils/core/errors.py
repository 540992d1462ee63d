"""The one exception for what a user can mend."""


class UserError(Exception):
    """Bad input, configuration or environment; its text says what, where, and what to do. Shown without a traceback."""
