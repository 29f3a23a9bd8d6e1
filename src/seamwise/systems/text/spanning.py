"""The best tree over the words of a sentence, exactly: a maximum spanning arborescence with one word on the root.

Heads are positions of words: 0 is the root, 1 the first word.

Source: Chu & Liu 1965, On the shortest arborescence of a directed graph; Edmonds 1967, Optimum branchings; one word on
the root: Zmigrod, Vieira & Cotterell 2020, Please Mind the Root. Why a penalty on the root is exact: of two words on
the root, one can be hung on the other instead, which makes no cycle and changes the score by less than the spread of
all scores; with any penalty above that spread, no best tree has two. Differs: the penalty is infinite. The root is left
out until all words are contracted into one, and only then one root arc is chosen, so no digit is lost to a large
number.
"""

import numpy as np

from seamwise.arrays import Float, Int, NDArray


def heads(scores: Float[NDArray, "words heads"]) -> Int[NDArray, " words"]:
    """The heads of the best tree; scores[i, 0] of word i on the root, scores[i, 1 + j] on word j (j = i is not read).

    Scores are added up, so they are logarithms. -inf and NaN are arcs to avoid: the tree has as few of them as can be.
    Among trees that are equally good, any one is given.
    """
    weights = np.fmax(scores, -np.inf, dtype=np.float64)  # a copy; NaN becomes -inf
    n_words = len(weights)
    words = np.arange(n_words)
    weights[words, words + 1] = -np.inf
    if not n_words:
        return words
    greedy = weights.argmax(1)
    return greedy if is_tree(greedy) else _arborescence(_finite(weights))


def is_tree(heads: Int[NDArray, " words"]) -> bool:
    """Whether exactly one word hangs on the root, and all others hang below it."""
    given: list[int] = heads.tolist()
    if given.count(0) != 1 or min(given) < 0 or max(given) > len(given):
        return False
    reached_from = [-1] + [0] * len(given)
    for start in range(1, len(given) + 1):
        at = start
        while not reached_from[at]:
            reached_from[at] = start
            at = given[at - 1]
        if reached_from[at] == start:
            return False
    return True


def _finite(weights: Float[NDArray, "words heads"]) -> Float[NDArray, "words heads"]:
    """The same best trees, with the best arc at 0 and one arc to avoid at less than all others together can be."""
    there = np.isfinite(weights)
    below = np.where(there, weights - weights[there].max(initial=np.finfo(np.float64).min), 0)
    n_words = len(weights)
    finite = np.where(there, below, (n_words + 1) * (below.min() - 1))
    finite[np.arange(n_words), np.arange(n_words) + 1] = -np.inf
    return finite


def _arborescence(weights: Float[NDArray, "words heads"]) -> Int[NDArray, " words"]:
    """Chu-Liu/Edmonds: follow best heads until they meet the path in a cycle, make the cycle one node, go on."""
    graph = _Graph(weights)
    path = [1]
    while graph.n_left > 1:
        head = graph.follow(path[-1])
        if head in path:
            cycle = path[path.index(head) :]
            path[-len(cycle) :] = [graph.contract(cycle)]
        else:
            path.append(head)
    graph.choose(path[-1], 0)
    return graph.expanded()


class _Graph:
    """Words and contracted cycles. A cycle lives on in the row and column of its first member, as a node of its own.

    best:   score of each row's best arc to each column; of a cycle, less the arc that it replaces within the cycle
    origin: which arc that is between words: n_nodes · dependent + head
    """

    def __init__(self, weights: Float[NDArray, "words heads"]) -> None:
        self.n_left, self.n_nodes = weights.shape
        self.best = np.full((self.n_nodes, self.n_nodes), -np.inf)
        self.best[1:] = weights
        self.origin = np.arange(self.n_nodes**2).reshape(self.n_nodes, self.n_nodes)
        self.every = np.arange(self.n_nodes)
        self.node = list(range(self.n_nodes))  # that lives in each row
        self.chosen = [0] * self.n_nodes  # arc of each node
        self.within = [0] * self.n_nodes  # cycle that each node is in
        self.cost = [0.0] * self.n_nodes  # of the arc that each row chose

    def choose(self, row: int, column: int) -> None:
        self.chosen[self.node[row]] = int(self.origin[row, column])
        self.cost[row] = float(self.best[row, column])

    def follow(self, row: int) -> int:
        """Choose a row's best arc from another word; which row that is."""
        head = 1 + int(self.best[row, 1:].argmax())
        self.choose(row, head)
        return head

    def contract(self, cycle: list[int]) -> int:
        """Make the rows of a cycle one; which row it lives on in."""
        first, members = cycle[0], np.array(cycle)
        into = self.best[members] - np.array([self.cost[row] for row in cycle])[:, None]
        out = self.best[:, members]
        member_into, member_out = into.argmax(0), out.argmax(1)
        self.origin[first] = self.origin[members[member_into], self.every]
        self.origin[:, first] = self.origin[self.every, members[member_out]]
        self.best[:, members] = -np.inf
        self.best[:, first] = out[self.every, member_out]
        self.best[first] = into[member_into, self.every]
        self.best[first, members] = -np.inf
        self._grow(cycle)
        return first

    def _grow(self, cycle: list[int]) -> None:
        for row in cycle:
            self.within[self.node[row]] = len(self.chosen)
        self.node[cycle[0]] = len(self.chosen)
        self.chosen.append(0)
        self.within.append(0)
        self.n_left -= len(cycle) - 1

    def expanded(self) -> Int[NDArray, " words"]:
        """Heads of the words: the arc into a cycle replaces those of the nodes that hold the word where it comes in."""
        for cycle in range(len(self.chosen) - 1, self.n_nodes - 1, -1):
            inside = self.chosen[cycle] // self.n_nodes
            while inside != cycle:
                self.chosen[inside] = self.chosen[cycle]
                inside = self.within[inside]
        return np.array([arc % self.n_nodes for arc in self.chosen[1 : self.n_nodes]])
