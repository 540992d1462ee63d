"""Values of slots as command lines have them."""

from typing import Dict, List, Sequence

from utils.core.errors import UserError


def slots_of(given: Sequence[str]) -> Dict[str, List[str]]:
    """Slot -> values, of NAME=VALUE,VALUE each. Raises UserError for another form."""
    found: Dict[str, List[str]] = {}
    for one in given:
        name, equals, values = one.partition("=")
        every = [value.strip() for value in values.split(",") if value.strip()]
        if not (name.strip() and equals and every):
            raise UserError(f"--slot {one}: write NAME=VALUE,VALUE")
        found.setdefault(name.strip(), []).extend(every)
    return found
