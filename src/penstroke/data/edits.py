"""The fewest edits between what is written and what was read."""


def align(text: str, predicted: str) -> tuple[tuple[str, str], ...]:
    """Return pairs of a character of `text` and what it was read as, of the fewest edits.

    One of a pair is "" where a character is missing or was inserted (Levenshtein 1966, by the
    dynamic programme of Wagner & Fischer 1974).
    """
    rows, columns = len(text) + 1, len(predicted) + 1
    cost = [list(range(columns)), *([row] + [0] * (columns - 1) for row in range(1, rows))]
    for i in range(1, rows):
        for j in range(1, columns):
            substituted = cost[i - 1][j - 1] + (text[i - 1] != predicted[j - 1])
            cost[i][j] = min(substituted, cost[i - 1][j] + 1, cost[i][j - 1] + 1)
    pairs, i, j = [], len(text), len(predicted)
    while i or j:
        differ = i and j and text[i - 1] != predicted[j - 1]
        if i and j and cost[i][j] == cost[i - 1][j - 1] + differ:
            i, j = i - 1, j - 1
            pairs.append((text[i], predicted[j]))
        elif i and cost[i][j] == cost[i - 1][j] + 1:
            i -= 1
            pairs.append((text[i], ""))
        else:
            j -= 1
            pairs.append(("", predicted[j]))
    return tuple(reversed(pairs))


def edit_distance(text: str, predicted: str) -> int:
    """Return the fewest insertions, deletions and substitutions from one to the other."""
    return sum(one != other for one, other in align(text, predicted))
