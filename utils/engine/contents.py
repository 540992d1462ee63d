"""What a bundle has of each finished stage, and these stages' folders read from a bundle.

The functions that read folders of stages read these too: of a folder they need `/`, of a file `is_file`, `read_bytes`,
`read_text` and `open`. So a bundle is recognised with by the very code that recognises in stages 1, 6 and 7.
"""

import io
from typing import IO, Any, Dict, Iterator, Optional

from utils.bundle.files import FRONT_END, BundleFiles
from utils.decode.search_weights import FILE
from utils.features.cmvn import STATISTICS
from utils.features.front_end import DESCRIPTION
from utils.text.sentences import SENTENCES

# Stage -> file in its folder -> file in the bundle. What a stage did not write, the bundle has not.
TABLE: Dict[str, Dict[str, str]] = {
    "data": {"config.yaml": "data.yaml", "summary.json": "data.json", SENTENCES: SENTENCES},
    "features": {"config.yaml": "features.yaml", **{name: name for name in (STATISTICS, DESCRIPTION)}},
    "lang": {
        "config.yaml": "lang.yaml",
        **{name: name for name in ("words.txt", "tokens.txt", "lexicon.txt", "sp.model")},
        **{name: name for name in ("lm.arpa", "g.arpa", "word_counts.json")},
    },
    "vectors": {
        "config.yaml": "vectors.yaml",
        "table.safetensors": "word_forms.safetensors",
        "provenance.json": "vectors.json",
        **{name: name for name in ("letters.txt", "phones.txt", "processing.safetensors")},
    },
    "train": {name: name for name in ("config.yaml", "model.safetensors", "summary.json")},
    "decode": {"config.yaml": "decode.yaml", FILE: FILE},
    "rescore": {
        "config.yaml": "rescore.yaml",
        **{name: name for name in ("weights.json", "word_lm.safetensors", "word_lm.json")},
    },
}
WORD_LM_VECTORS = "word_lm_vectors.safetensors"
ABOUT = "bundle.json"
PACKS = "packs/"


class Stored:
    """A stage's folder in a bundle, or a file in it, read as a pathlib.Path is."""

    def __init__(self, files: BundleFiles, table: Dict[str, str], name: str, inside: Optional[str] = None) -> None:
        """
        Args:
          table: names in the folder -> names in the bundle.
          name: of the folder, or of the file.
          inside: the file's name in the bundle, where it is there.
        """
        self.files, self.table, self.name, self.inside = files, table, name, inside

    def __truediv__(self, name: str) -> "Stored":
        inside = self.table.get(name)
        return Stored(self.files, {}, name, inside if inside in self.files.names else None)

    def __str__(self) -> str:
        return f"{self.files.path}/{self.inside or self.name}"

    def is_file(self) -> bool:
        """Whether the bundle has the file."""
        return self.inside is not None

    exists = is_file

    def iterdir(self) -> Iterator["Stored"]:
        """The files of the folder."""
        return (found for found in (self / name for name in sorted(self.table)) if found.is_file())

    def read_bytes(self) -> bytes:
        """The content, checked."""
        if self.inside is None:
            raise FileNotFoundError(str(self))
        return self.files.read(self.inside)

    def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text, with ends of lines as they are."""
        return self.read_bytes().decode(encoding)

    def open(self, mode: str = "r", encoding: str = "utf-8") -> IO[Any]:
        """A stream of the content."""
        stream = io.BytesIO(self.read_bytes())
        return stream if "b" in mode else io.TextIOWrapper(stream, encoding=encoding)


def stage_folders(files: BundleFiles) -> Dict[str, Any]:
    """The folders of the stages that a bundle was made of, by stage."""
    named = {"train": f"train-{files.manifest.model}"}
    return {stage: Stored(files, table, named.get(stage, stage)) for stage, table in TABLE.items()}


def bundle_file(files: BundleFiles, name: str) -> Stored:
    """A file that belongs to no stage, or to several."""
    return Stored(files, {name: name}, "") / name


def front_end_folder(files: BundleFiles) -> Stored:
    """The folder of the front end's model inside the bundle."""
    return Stored(files, {name[len(FRONT_END) :]: name for name in files.names if name.startswith(FRONT_END)}, FRONT_END[:-1])
