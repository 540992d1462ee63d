"""The page of live streams, from its records."""

from pathlib import Path

from tests.bench.common import records_of, what, write_page
from utils.core.tables import ABSENT, Table, grouped, number, signed

IDLE = "added words that nobody says"  # the trial of --idle-words
UNSEEN = "unseen words added to running sessions"  # that of --unseen


def draw(corpus: Path) -> Table:
    """Write streams.md of a corpus folder from streams.jsonl; returns its first table."""
    rows, added, idle, unseen = [], [], [], []
    for record in records_of(corpus, "streams"):
        if record.get("trial") == IDLE:
            for row in record["rows"]:
                rates = [number(row["wer_without"], 2), number(row["wer"], 2), signed(row["wer"] - row["wer_without"], 2)]
                idle.append([what(record), str(row["words"]), *rates, number(row["seconds"], 1)])
            continue
        if record.get("trial") == UNSEEN:
            for row in record["rows"]:
                counts = [str(row[key]) for key in ("words", "recordings", "live", "files", "alike")]
                unseen.append([what(record), *counts, " / ".join(f"{v:.2f}" for v in row["seconds"])])
            continue
        name = ", ".join(filter(None, (what(record), record.get("trial"))))
        for row in record["rows"]:
            late = [" / ".join(f"{1000 * v:.0f}" for v in row[kind]) for kind in ("partials", "finals")]
            rates = [number(row["wer_of_files"], 2), number(row["wer"], 2), signed(row["wer"] - row["wer_of_files"], 2)]
            costs = [number(row["real_time_factor"], 3), number(row["mb"], 0)]
            costs.append(signed(row["growth"], 1) if record["minutes"] >= 3 else ABSENT)
            played = [number(record["minutes"], 1), str(row["clients"])]
            rows.append([name, *played, *late, *rates, *costs, "; ".join(row["errors"]) or "none"])
            if "added" in row:
                latest = f"{1000 * row['partials_meanwhile']:.0f}"
                counts = [str(row[key]) for key in ("clients", "added")]
                added.append([what(record), *counts, number(row["added_seconds"], 2), latest, number(row["lost"], 3)])
    header = ["corpus and recipe", "minutes", "clients", "partials ms", "finals ms", "WER of files", "WER live", "difference"]
    header += ["real-time factor", "MB", "growth %", "errors"]
    caption = (
        "Recordings of test played over WebSocket at their own speed, with the clients on the same machine. Delays, at 50, 95 "
        "and 99 percent: of a partial from the last sample that it heard, before which a sample waits for a chunk at most; of a "
        "final from the end of speech. Real-time factor: processor seconds of the server a second of audio. Growth: of resident "
        "memory, from the second minute to the last."
    )
    tables = [Table(f"Live streams: {corpus.name}", caption, header, grouped(rows, 1), 1)] if rows else []
    if added:
        header = ["corpus and recipe", "clients", "added words", "seconds to add", "latest partial ms", "seconds of audio lost"]
        caption = "Latest partial: from half a second before the call until two seconds after it."
        tables.append(Table("Words added while clients speak", caption, header, grouped(added, 1), 1))
    if idle:
        header = ["corpus and recipe", "added words", "WER without", "WER with them", "difference", "seconds to add"]
        tables.append(Table("Added words that nobody says", "Recordings of test as files.", header, grouped(idle, 1), 1))
    if unseen:
        header = ["corpus and recipe", "words", "recordings", "found live", "found in files", "alike", "seconds to add"]
        caption = (
            "Words of test that the model lacks, drawn at random. Each was added to the server while sessions ran, which then "
            "heard the recordings that it is said in; in files, it was added for the call. Seconds at 50, 95 and 99 percent."
        )
        tables.append(Table("Unseen words added to running sessions", caption, header, grouped(unseen, 1), 1))
    write_page(corpus, "streams", tables)
    return tables[0]
