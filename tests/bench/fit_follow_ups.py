#!/usr/bin/env python3
"""Fits the coefficients of src/matching/following.rs.

Usage (needs numpy and scipy; the same input gives the same output):

    wxfaq eval --bank config/sample-bank.jsonl --queries tests/data/follow-ups.jsonl --features-out follow-ups.features.jsonl
    python3 tests/bench/fit_follow_ups.py follow-ups.features.jsonl

A line of the file is one entry that the two searches of a follow-up found, as matching::metrics::FeatureRow writes it.
The texts were written in two halves, by two people who did not see each other's (ids fu-a… and fu-b…), after different
entries. Each half is reported by the fit on the other; the last line is the fit on both, which is what ships.

Loss: logistic, whether the entry answers the text, with a little L2. Then, for each threshold on the probability of the
first entry: how many texts have a first entry above it, in how many of these it is right, in how many a right one is
among the first five.
"""

import json
import sys
from collections import defaultdict

import numpy as np
from scipy.optimize import minimize

L2 = 1e-3
THRESHOLDS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def read(path):
    """By query: features, and which entries are right."""
    queries = defaultdict(list)
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            queries[row["query"]].append((row["features"], row["relevant"]))
    return {query: (np.array([f for f, _ in rows]), np.array([r for _, r in rows])) for query, rows in queries.items()}


def probability(model, features):
    return 1.0 / (1.0 + np.exp(-(model[0] + features @ model[1:])))


def fit(queries):
    features = np.vstack([features for features, _ in queries.values()])
    right = np.concatenate([right for _, right in queries.values()])
    sign = np.where(right, 1.0, -1.0)

    def loss(model):
        margin = sign * (model[0] + features @ model[1:])
        return np.logaddexp(0.0, -margin).sum() + L2 * (model[1:] ** 2).sum()

    return minimize(loss, np.zeros(features.shape[1] + 1), method="L-BFGS-B").x


def report(name, model, queries):
    print(f"{name}: intercept {model[0]:.2f}, weights {np.array2string(model[1:], precision=2)}")
    ranked = []
    for features, right in queries.values():
        by_hand = probability(model, features)
        order = np.argsort(-by_hand, kind="stable")
        ranked.append((by_hand[order[0]], right[order[0]], right[order[:5]].any()))
    for threshold in THRESHOLDS:
        above = [(first, listed) for p, first, listed in ranked if p >= threshold]
        first, listed = (sum(column) for column in zip(*above)) if above else (0, 0)
        print(f"  from {threshold}: {len(above)} texts, first right {first}, right among five {listed}")


def main():
    queries = read(sys.argv[1])
    halves = {half: {q: rows for q, rows in queries.items() if q.startswith(f"fu-{half}")} for half in "ab"}
    report("a by the fit on b", fit(halves["b"]), halves["a"])
    report("b by the fit on a", fit(halves["a"]), halves["b"])
    report("both by the fit on both", fit(queries), queries)


if __name__ == "__main__":
    main()
