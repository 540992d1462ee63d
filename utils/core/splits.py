"""The parts of a corpus."""

SPLITS = ("train", "dev", "test")
EVALUATION = ("dev", "test")  # those that are recognised; weights are tuned on dev alone
