"""What the text models share: which text, in which vocabulary, in windows of which length."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from wattlaw.core.errors import MissingPartError
from wattlaw.core.reading import Note
from wattlaw.core.setting import OptionValue
from wattlaw.workloads import asked
from wattlaw.workloads.asked import Asked
from wattlaw.workloads.base import Split
from wattlaw.workloads.language import text
from wattlaw.workloads.language.vocabulary import Vocabulary, of_bytes, of_file, of_words

OPTIONS: dict[str, OptionValue] = {**asked.OPTIONS, "vocabulary": ""}
"""``data``: "" for Python's own text, "generated", a text file or a folder of such. ``on_bad``: what is done with a
line that is no text, "fail" or "skip". ``vocabulary``: "" for the preset's own (bytes for tiny, the published one for
base, words where no package brings that), "bytes", "words", "published", or a file."""


class Corpus:
    """The text and vocabulary that a workload's options ask for.

    ``published`` gives the model's own vocabulary, of ``size`` tokens, special ones included.
    """

    def __init__(
        self,
        chosen: Mapping[str, OptionValue],
        is_tiny: bool,
        published: Callable[[], Vocabulary],
        words: int,
    ) -> None:
        self.asked: Asked = asked.asked(chosen)
        self.is_tiny, self.published, self.words = is_tiny, published, words
        self.notes: list[Note] = []
        self._left_out: list[Note] = []
        self.vocabulary = self._vocabulary(str(chosen["vocabulary"]))

    def _vocabulary(self, named: str) -> Vocabulary:
        if named == "bytes" or (not named and self.is_tiny):
            return of_bytes()
        if named == "words" or (not named and self.asked.is_generated):
            return of_words(self.words)
        if named == "published":
            return self.published()
        if named:
            return of_file(Path(named).expanduser())
        try:
            return self.published()
        except MissingPartError as error:
            told = f"the tokens are the {self.words} commonest words and bytes of the text itself: {error}"
            self.notes.append(Note("learnt_vocabulary", told))
            return of_words(self.words)

    def tokens(self, split: Split, length: int) -> Tensor:
        """Return one part of the text as tokens (T,)."""
        if self.asked.is_generated:
            return text.part(text.generated(self.vocabulary.tokens, length), split)
        return self.part_of(self.read(), split)

    def part_of(self, whole: str, split: Split) -> Tensor:
        """Return one part of a text as tokens (T,)."""
        return text.part(text.encoded(whole, self.vocabulary), split)

    def read(self) -> str:
        """Return the whole text."""
        if self.asked.path is not None:
            return self.read_files(self.asked.path)[0]
        return text.reference() if self.is_tiny else text.reference() + text.sources()

    def read_files(self, path: Path, is_apart: bool = False) -> list[str]:
        """Return the text of a file or of a folder's files; one for each file where it ``is_apart``."""
        files = text.text_files(path)
        given = [
            text.read_texts(part, self.asked.on_bad)
            for part in ([[f] for f in files] if is_apart else [files])
        ]
        first = next((g.first_fault for g in given if g.first_fault), "")
        self._left_out = asked.left_out(
            path, sum(g.skipped for g in given), sum(g.good for g in given), first
        )
        return [g.text for g in given]

    def warnings(self) -> list[Note]:
        """Return what the user should know of the data that were read."""
        return [
            *self.notes,
            *self._left_out,
            *([asked.GENERATED_NOTE] if self.asked.is_generated else []),
        ]
