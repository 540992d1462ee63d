"""One module a stage, and the tools beside them."""

import utils  # noqa: F401  before any of them imports torch: sets how its threads wait
