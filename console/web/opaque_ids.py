"""Ids for callers that are limited to portfolios.

The database numbers jobs, corrections and positions one after the other, so the gaps between those
that a limited caller sees would tell it how many others there are. It gets other numbers for them:
a permutation of all numbers below 2^52, by a key of its token. They stay the same as long as the
token, fit in a number of JavaScript, and are no secret: who sends one is still asked for its
portfolios.
"""

import hashlib

_BITS = 26  # of each half
_MASK = (1 << _BITS) - 1
_ROUNDS = 6

KINDS = {
    "job_id": b"job",
    "task_id": b"task",
    "trigger_id": b"trigger",
    "dead_letter_id": b"letter",
    "position_id": b"position",
}
"""The fields that are such ids. Each has a permutation of its own."""


class OpaqueIds:
    """The numbers of one token: a Feistel network over the two halves of a number.

    0 and the numbers from 2^52 on are no ids, and stay what they are.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()

    def hide(self, field: str, number: int) -> int:
        """Return what stands for an id."""
        return self._permuted(field, number, range(_ROUNDS))

    def find(self, field: str, number: int) -> int:
        """Return the id that a number stands for."""
        return self._permuted(field, number, range(_ROUNDS - 1, -1, -1), is_back=True)

    def _permuted(self, field: str, number: int, rounds: range, *, is_back: bool = False) -> int:
        if not 0 < number <= _MASK << _BITS | _MASK:
            return number
        left, right = number >> _BITS, number & _MASK
        for each in rounds:
            if is_back:
                left, right = right ^ self._mixed(field, each, left), left
            else:
                left, right = right, left ^ self._mixed(field, each, right)
        return left << _BITS | right

    def _mixed(self, field: str, step: int, half: int) -> int:
        text = bytes([step]) + half.to_bytes(4, "big")
        digest = hashlib.blake2b(text, key=self._key, person=KINDS[field], digest_size=4).digest()
        return int.from_bytes(digest, "big") & _MASK
