"""The text and the vocabulary that a text model trains on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from wattlaw.core.errors import MissingPartError
from wattlaw.core.reading import Note
from wattlaw.core.setting import OptionValue
from wattlaw.workloads.base import Split
from wattlaw.workloads.data_options import GENERATED_NOTE, parse_data_options, skipped_records
from wattlaw.workloads.data_options import OPTIONS as DATA_OPTIONS
from wattlaw.workloads.language import text
from wattlaw.workloads.language.vocabulary import Vocabulary, of_bytes, of_file, of_words

OPTIONS: dict[str, OptionValue] = {**DATA_OPTIONS, "vocabulary": ""}
"""``data``: "" for Python's own documentation and sources, "generated", a text file, or a folder of
text files. ``on_bad``: whether a line that is not text fails the run ("fail") or is left out
("skip"). ``vocabulary``: "bytes", "words", "published", or a file; "" for the preset's own: bytes
for tiny, the published one for base (words if no installed package ships that)."""


class Corpus:
    """The text and the vocabulary that a workload's options choose.

    ``published`` makes the model's published vocabulary; ``words`` is its size without special
    tokens.
    """

    def __init__(
        self,
        chosen: Mapping[str, OptionValue],
        is_tiny: bool,
        published: Callable[[], Vocabulary],
        words: int,
    ) -> None:
        self.data_options = parse_data_options(chosen)
        self.is_tiny, self.published, self.words = is_tiny, published, words
        self._vocabulary_notes: list[Note] = []
        self._skipped_notes: list[Note] = []
        self.vocabulary = self._vocabulary(str(chosen["vocabulary"]))

    def _vocabulary(self, name: str) -> Vocabulary:
        if name == "bytes" or (not name and self.is_tiny):
            return of_bytes()
        if name == "words" or (not name and self.data_options.is_generated):
            return of_words(self.words)
        if name == "published":
            return self.published()
        if name:
            return of_file(Path(name).expanduser())
        try:
            return self.published()
        except MissingPartError as error:
            message = f"the tokens are bytes and the {self.words} most frequent words of the text"
            self._vocabulary_notes.append(Note("learnt_vocabulary", f"{message}: {error}"))
            return of_words(self.words)

    def tokens(self, split: Split, length: int) -> Tensor:
        """Return one part of the text as tokens (T,)."""
        if self.data_options.is_generated:
            return text.part(text.generated(self.vocabulary.tokens, length), split)
        return self.part_of(self.read(), split)

    def part_of(self, whole: str, split: Split) -> Tensor:
        """Return one part of a text as tokens (T,)."""
        return text.part(text.encoded(whole, self.vocabulary), split)

    def read(self) -> str:
        """Return the whole text."""
        path = self.data_options.path
        if path is not None:
            return self._read_groups(path, [text.text_files(path)])[0]
        if self.is_tiny:
            return text.reference()
        return text.reference() + text.sources()

    def read_classes(self, folder: Path) -> list[str]:
        """Return the texts of a folder's files, each file a class."""
        return self._read_groups(folder, [[file] for file in text.text_files(folder)])

    def _read_groups(self, path: Path, groups: list[list[Path]]) -> list[str]:
        texts = [text.read_texts(group, self.data_options.on_bad) for group in groups]
        skipped = sum(found.skipped for found in texts)
        good = sum(found.good for found in texts)
        first = next((found.first_fault for found in texts if found.first_fault), "")
        self._skipped_notes = skipped_records(path, skipped, good, first)
        return [found.text for found in texts]

    def warnings(self) -> list[Note]:
        """Return the warnings about the vocabulary and the data that were read."""
        notes = [*self._vocabulary_notes, *self._skipped_notes]
        if self.data_options.is_generated:
            notes.append(GENERATED_NOTE)
        return notes
