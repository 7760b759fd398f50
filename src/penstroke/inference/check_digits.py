"""Check digits of numbers, summed up character by character. Imports nothing heavy."""

from collections.abc import Callable
from string import ascii_uppercase
from typing import Literal

CheckDigitName = Literal["luhn", "isbn-10", "isbn-13", "iban"]
Sums = tuple[int, ...]


def _luhn(state: Sums, character: str) -> Sums | None:
    """The number of digits up to 2, and the sums (mod 10) if an even or odd number follows."""
    if character not in _DIGITS:
        return None
    count, even, odd = state
    digit = int(character)
    return min(count + 1, 2), (odd + digit) % 10, (even + sum(divmod(2 * digit, 10))) % 10


def _isbn_10(state: Sums, character: str) -> Sums | None:
    """The number of digits, and their sum (mod 11), weighted 10 to 1; a final X is 10."""
    count, total = state
    if count == 10 or character not in (_DIGITS + "X" if count == 9 else _DIGITS):
        return None
    return count + 1, (total + (10 - count) * (10 if character == "X" else int(character))) % 11


def _isbn_13(state: Sums, character: str) -> Sums | None:
    """The number of digits, and their sum (mod 10), weighted 1 and 3 by turns."""
    count, total = state
    if count == 13 or character not in (("9", "7", "89")[count] if count < 3 else _DIGITS):
        return None
    return count + 1, (total + (3 if count % 2 else 1) * int(character)) % 10


def _iban(state: Sums, character: str) -> Sums | None:
    """The number of characters up to 4, the value (mod 97) of these, and of what follows.

    A is 10, B is 11, and so on, with two digits.
    """
    count, head, rest = state
    is_digit = character in _DIGITS
    if not (is_digit or character in ascii_uppercase) or (count < 4 and is_digit != (count > 1)):
        return None
    value = head if count < 4 else rest
    value = (value * (10 if is_digit else 100) + int(character, 36)) % 97
    return (count + 1, value, rest) if count < 4 else (4, head, value)


_DIGITS = "0123456789"
CHECKS: dict[str, tuple[Sums, Callable[[Sums, str], Sums | None], Callable[[Sums], bool]]] = {
    "luhn": ((0, 0, 0), _luhn, lambda state: state[0] == 2 and state[1] == 0),
    "isbn-10": ((0, 0), _isbn_10, lambda state: state == (10, 0)),
    "isbn-13": ((0, 0), _isbn_13, lambda state: state == (13, 0)),
    "iban": ((0, 0, 0), _iban, lambda s: s[0] == 4 and (s[2] * 10**6 + s[1]) % 97 == 1),
}
"""By name: the start, what follows when a character is read, and whether a state is right."""
