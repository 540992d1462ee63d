"""The picture of a training."""

from pathlib import Path

from utils.core.files import atomic_path, read_jsonl


def draw(rows_file: Path, picture: Path) -> None:
    """Losses of training and dev, and greedy errors on dev, over steps; from curves.jsonl to SVG."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "nuptse"  # the same curve, the same file
    from matplotlib import pyplot

    rows = read_jsonl(rows_file)
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2))
    for axes, ending, title in ((left, "_loss", "loss a token (nats)"), (right, "_error", "greedy error on dev (%)")):
        for key in sorted({k for row in rows for k in row if k.endswith(ending)}):
            points = [(row["step"], row[key]) for row in rows if key in row]
            axes.plot(*zip(*points), label=key[: -len(ending)].replace("_", " "), linewidth=1)
        axes.set(xlabel="step", title=title, ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    right.set_ylim(0, 105)
    figure.tight_layout()
    with atomic_path(picture) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    pyplot.close(figure)
