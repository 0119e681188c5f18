#!/usr/bin/env python3
"""Fits the coefficients of src/matching/ranking.rs and the calibration of src/matching/confidence.rs.

Usage (numpy is the only requirement):

    wxfaq eval --bank TASK/bank.jsonl --queries TASK/queries.jsonl --features-out TASK.features.jsonl     # every task
    python3 tests/bench/fit_ranking.py [--hold NAME,NAME ...] bankfaq.features.jsonl ant.features.jsonl ...

A task is named after its file up to the first dot. A line of a file is one candidate, as matching::metrics::FeatureRow
writes it: {"query","entry","note","in_scope","relevant","features":[...]}, in the order of ranking::TABLE.

Each --hold names tasks that are left out together (a corpus with its noisy variant and the union it is part of); the
first is reported, fitted on all others. The last line of the report is the fit on everything, which is what ships.

Loss: pointwise logistic over the candidates of a query (the score says whether a candidate answers, so it compares
between queries) plus the softmax cross-entropy within the queries that have an answer (the right one first), plus L2.
Tasks weigh the same, queries of a task weigh the same. Weights stay within BOUNDS.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np

# Least and most a weight may be. A likeness never counts against a candidate, a conflict always does.
LIKENESS = (0.0, np.inf)
CONFLICT = (-np.inf, -0.5)
DOUBT = (-np.inf, 0.0)
BOUNDS = {
    **dict.fromkeys(["units", "words_bigrams", "query_units", "phrasing_units", "phrasing_words"], LIKENESS),
    **dict.fromkeys(["sounds", "sequence", "same", "answer"], LIKENESS),
    **dict.fromkeys(["units_gap", "words_bigrams_gap", "sounds_gap", "sequence_gap", "evidence_gap"], LIKENESS),
    **dict.fromkeys(["numbers_differ", "latin_differs", "contrast"], CONFLICT),
    **dict.fromkeys(["unknown", "corrected"], DOUBT),
}
MAX_NEGATIVES = 12
NUMBER = r"-?[\d._]+"


def table_names(source):
    """The names in ranking::TABLE, in order."""
    text = source.read_text(encoding="utf-8")
    body = text.split("= table! {")[1].split("};")[0]
    return re.findall(rf"^\s*(\w+) {NUMBER},", body, re.M)


class Task:
    """The candidates of one file, grouped by query."""

    def __init__(self, path):
        rows, labels, groups, self.in_scope, self.notes = [], [], [], [], []
        numbers, negatives = {}, defaultdict(int)
        for line in path.open(encoding="utf-8"):
            row = json.loads(line)
            number = numbers.setdefault(row["query"], len(numbers))
            if number == len(self.in_scope):
                self.in_scope.append(row["in_scope"])
                self.notes.append(row["note"] or "")
            if not row["relevant"]:
                negatives[number] += 1
                if negatives[number] > MAX_NEGATIVES:
                    continue
            rows.append(row["features"])
            labels.append(row["relevant"])
            groups.append(number)
        self.x = np.array(rows, dtype=np.float32)
        self.y = np.array(labels, dtype=float)
        self.groups = np.array(groups)
        self.in_scope = np.array(self.in_scope)
        self.queries = len(self.in_scope)
        self.starts = np.flatnonzero(np.r_[True, np.diff(self.groups) > 0])


def fit(tasks, bounds, steps=500, l2=2e-5, listwise=0.5):
    """Intercept and weights by Adam on the whole data at once."""
    x = np.vstack([task.x for task in tasks])
    y = np.concatenate([task.y for task in tasks])
    offsets = np.cumsum([0] + [task.queries for task in tasks])
    groups = np.concatenate([task.groups + offset for task, offset in zip(tasks, offsets)])
    starts = np.flatnonzero(np.r_[True, np.diff(groups) > 0])
    per_query = np.concatenate([np.full(len(task.y), 1 / task.queries) for task in tasks]) / len(tasks)
    has_answer = np.add.reduceat(y, starts) > 0
    counts = np.diff(np.r_[starts, len(y)])
    answered = np.repeat(has_answer, counts)
    target = y / np.repeat(np.maximum(np.add.reduceat(y, starts), 1), counts)
    w, b = np.zeros(x.shape[1]), 0.0
    m, v = np.zeros(len(w) + 1), np.zeros(len(w) + 1)
    for step in range(1, steps + 1):
        z = x @ w + b
        p = 1 / (1 + np.exp(-z))
        top = np.repeat(np.maximum.reduceat(z, starts), counts)
        e = np.exp(z - top)
        softmax = e / np.repeat(np.add.reduceat(e, starts), counts)
        residual = per_query * (p - y + listwise * answered * (softmax - target))
        gradient = np.r_[x.T @ residual + l2 * w, residual.sum()]
        m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
        rate = 0.3 * (1 - step / (steps + 1))
        update = rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.999**step)) + 1e-12)
        w, b = w - update[:-1], b - update[-1]
        w = np.clip(w, bounds[:, 0], bounds[:, 1])
    return b, w


def auc(positive, negative):
    """P(positive > negative), ties half."""
    values = np.r_[positive, negative]
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, k = len(positive), len(negative)
    return (ranks[:n].sum() - n * (n + 1) / 2) / (n * k) if n and k else float("nan")


def best_hits(task, b, w):
    """Per query: score of the first hit, whether it is right, whether the right one is among the first five."""
    z = task.x @ w + b
    order = np.lexsort((-z, task.groups))
    bounds = np.r_[task.starts, len(z)]
    top, right, shown = np.zeros(task.queries), np.zeros(task.queries, bool), np.zeros(task.queries, bool)
    for start, end in zip(bounds, bounds[1:]):
        rows = order[start:end]
        query = task.groups[rows[0]]
        top[query], right[query], shown[query] = z[rows[0]], task.y[rows[0]] > 0, task.y[rows[:5]].any()
    return top, right, shown


def report(name, task, b, w):
    top, right, _ = best_hits(task, b, w)
    inside = task.in_scope
    print(f"{name:28} hit@1 {right[inside].mean():.4f}  auc {auc(top[inside], top[~inside]):.4f}  "
          f"auc(right,rest) {auc(top[right], top[~right]):.4f}")


def thresholds(tasks, b, w):
    """Scores from which pooled precision of the first hit is 95 %, and the right one among five shown is 80 %."""
    found = [best_hits(task, b, w) for task in tasks]
    top = np.concatenate([t for t, _, _ in found])
    weight = np.concatenate([np.full(len(t), 1 / len(t)) for t, _, _ in found])
    order = np.argsort(-top)
    for label, column, floor in (("right", 1, (0.99, 0.97, 0.95, 0.9, 0.8)), ("shown", 2, (0.9, 0.85, 0.8, 0.7, 0.5))):
        good = np.concatenate([f[column] for f in found])
        for precision in floor:
            for kind, mass in (("pooled", np.ones(len(top))), ("per task", weight)):
                share = np.cumsum((good * mass)[order]) / np.cumsum(mass[order])
                last = np.flatnonzero(share >= precision)
                score = top[order][last[-1]] if len(last) else float("inf")
                print(f"  {label} {precision:.2f} {kind}: score >= {score:.3f}, {(top >= score).mean():.3f} of all queries")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--hold", action="append", default=[], help="tasks left out together; the first is reported")
    parser.add_argument("--only-report", action="append", default=[], help="a task never fitted on")
    parser.add_argument("--l2", type=float, default=2e-5)
    parser.add_argument("--listwise", type=float, default=0.5)
    arguments = parser.parse_args()
    source = Path(__file__).resolve().parents[2] / "src/matching/ranking.rs"
    names = table_names(source)
    tasks = {path.name.split(".")[0]: Task(path) for path in arguments.files}
    bounds = np.array([BOUNDS.get(name, (-np.inf, np.inf)) for name in names])
    fitted = {name: task for name, task in tasks.items() if name not in arguments.only_report}
    options = {"l2": arguments.l2, "listwise": arguments.listwise}
    for held in arguments.hold:
        out = held.split(",")
        b, w = fit([task for name, task in fitted.items() if name not in out], bounds, **options)
        report(out[0] + " (held out)", tasks[out[0]], b, w)
    b, w = fit(list(fitted.values()), bounds, **options)
    for name, task in tasks.items():
        report(name, task, b, w)
    thresholds(list(fitted.values()), b, w)
    print(f"pub const INTERCEPT: f64 = {b:.3f};")
    for name, weight in zip(names, w):
        print(f"    {name} {weight:.3f},")


if __name__ == "__main__":
    main()
