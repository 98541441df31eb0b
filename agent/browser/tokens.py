"""Which characters of an answer each sampled token stands for."""

from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

_UNFINISHED = "\ufffd"  # what bytes of a character decode to while the others are missing


class Tokens:
    """The tokens of one model, from its `tokenizer.json`."""

    def __init__(self, file: Path) -> None:
        if not file.is_file():
            raise FileNotFoundError(f"{file}: no such tokenizer; give the base model's folder")
        self._file = file
        self._tokenizer = Tokenizer.from_file(str(file))
        self._pieces: dict[int, str] = {}

    def lengths(self, ids: Sequence[int], text: str, where: str) -> list[int]:
        """UTF-16 units, as JavaScript counts them, of `text` that each token adds; they sum to it.

        The end-of-turn token, which `text` leaves out, adds nothing. `where` names the answer in
        the error that is raised when these tokens are not those of `text`.
        """
        stopped = self._decode(ids) != text
        if stopped and self._decode(ids[:-1]) != text:
            raise ValueError(
                f"{self._file}: does not decode the tokens of {where} to their text; give the "
                "tokenizer of the model that played"
            )
        body = ids[:-1] if stopped else ids
        pieces = [self._piece(token) for token in body]
        if "".join(pieces) != text:
            pieces = self._pieces_in_context(body, text)
        lengths = [len(piece.encode("utf-16-le")) // 2 for piece in pieces]
        return [*lengths, 0] if stopped else lengths

    def _pieces_in_context(self, ids: Sequence[int], text: str) -> list[str]:
        """Where single tokens are no whole characters, or read differently after others.

        Each token is decoded behind the ones before it; one that leaves a character unfinished
        adds nothing, and the one that completes it adds all of it. What is left falls to the last.
        """
        pieces, anchor, done, left = [], 0, 0, text
        for end in range(1, len(ids) + 1):
            longer = self._decode(ids[anchor:end])
            piece = ""
            if not longer.endswith(_UNFINISHED):
                piece = longer[len(self._decode(ids[anchor:done])) :][: len(left)]
                anchor, done = done, end
            pieces.append(piece)
            left = left[len(piece) :]
        return [*pieces[:-1], pieces[-1] + left]

    def _piece(self, token: int) -> str:
        if token not in self._pieces:
            self._pieces[token] = self._decode([token])
        return self._pieces[token]

    def _decode(self, ids: Sequence[int]) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text
