#!/usr/bin/env python3
"""Fits the coefficients of src/matching/ranking.rs and the calibration of src/matching/confidence.rs.

Usage (needs numpy and scipy; the same input gives the same output):

    wxfaq eval --bank TASK/bank.jsonl --queries TASK/queries.jsonl --features-out TASK.features.jsonl     # every task
    python3 tests/bench/fit_ranking.py [--hold NAME,NAME ...] bankfaq.features.jsonl ant.features.jsonl ...

A task is named after its file up to the first dot. A line of a file is one candidate, as matching::metrics::FeatureRow
writes it: {"query","entry","note","in_scope","relevant","features":[...]}, in the order of ranking::TABLE.

Each --hold names tasks that are left out together (a corpus with its noisy variant and the union it is part of); the
first is reported, fitted on all others. The last line of the report is the fit on everything, which is what ships.

The score is intercept + weights·features + lead, the lead being likeness·features less the same of the best rival.

Loss, each term a mean over the queries of a task: pointwise logistic over the candidates (the score says whether a
candidate answers) + LISTWISE × softmax cross-entropy within the queries that have an answer (the right one first)
+ SCOPE × logistic of the first candidate's score, whether the query has an answer at all (with an offset of its own)
+ L2 on standardised weights. TASK_WEIGHT: bank and credit questions come in two tasks each, open-domain ones in one;
only bankfaq has real answers and hard questions that it cannot answer.
Signs stay within BOUNDS.
"""

import argparse
import json
import re
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

# Least and most a weight may be. A likeness never counts against a candidate, a conflict always does.
LIKENESS = (0.0, None)
CONFLICT = (None, -0.5)
DOUBT = (None, 0.0)
BOUNDS = {
    **dict.fromkeys(["query_units", "phrasing_units", "units", "pairs", "words", "parts", "sounds"], LIKENESS),
    **dict.fromkeys(["sound_sequence", "length", "same", "answer", "answer_adds"], LIKENESS),
    **dict.fromkeys(["found_query", "found_phrasing"], LIKENESS),
    **dict.fromkeys(["numbers_differ", "latin_differs", "contrast"], CONFLICT),
    **dict.fromkeys(["latin_one_sided", "negation_differs", "unknown", "brief"], DOUBT),
}
# What makes a candidate a rival of others.
LEADING = ["query_units", "units", "pairs", "words", "parts", "sounds", "sound_sequence", "same", "answer", "answer_adds"]
TASK_WEIGHT = {"general": 2.5, "bankfaq": 2.5}
LISTWISE, SCOPE, L2 = 4.0, 6.0, 1e-4
MAX_NEGATIVES = 12
# confidence::CROWD, and what the tasks count in fitting what it takes: only whole corpora tell how crowded a bank is.
CROWD = slice(2, 6)
SURENESS_WEIGHT = {"bankfaq": 0.5}
NUMBER = r"-?[\d._]+"


def table(source):
    """ranking::TABLE: names, weights and likenesses, in order; and the intercept before them."""
    text = source.read_text(encoding="utf-8")
    intercept = float(re.search(rf"INTERCEPT: f64 = ({NUMBER})", text).group(1))
    body = text.split("\ntable! {")[1].split("\n}")[0]
    lines = re.findall(rf"^\s*(\w+) ({NUMBER}), ({NUMBER});", body, re.M)
    names, weights, likenesses = zip(*lines)
    return list(names), intercept, np.array(weights, dtype=float), np.array(likenesses, dtype=float)


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
        self.x = np.array(rows)
        self.y = np.array(labels, dtype=float)
        self.groups = np.array(groups)
        self.in_scope = np.array(self.in_scope)
        self.queries = len(self.in_scope)
        self.starts = np.flatnonzero(np.r_[True, np.diff(self.groups) > 0])


class Groups:
    """Candidates of several tasks, numbered by query."""

    def __init__(self, tasks):
        offsets = np.cumsum([0] + [task.queries for task in tasks])
        self.ids = np.concatenate([task.groups + offset for task, offset in zip(tasks, offsets)])
        self.starts = np.flatnonzero(np.r_[True, np.diff(self.ids) > 0])
        self.counts = np.diff(np.r_[self.starts, len(self.ids)])

    def best(self, values):
        """The row of each group's greatest value, and the one after it (the same in a group of one)."""
        order = np.lexsort((-values, self.ids))
        return order[self.starts], order[self.starts + (self.counts > 1)]

    def spread(self, values):
        return np.repeat(values, self.counts)


def leads(likeness, conflict, groups):
    """ranking::with_rivals: the lead, the row of the rival, whether there is one."""
    eligible = np.where(conflict, -np.inf, likeness)
    first, second = (groups.spread(rows) for rows in groups.best(eligible))
    own = np.arange(len(likeness))
    rival = np.where(first == own, second, first)
    exists = np.isfinite(eligible[rival]) & (rival != own)
    return likeness - np.where(exists, likeness[rival], 0.0), rival, exists


class Model:
    """Intercept, weights and likenesses, the last two by feature."""

    def __init__(self, intercept, weights, likenesses, contrast):
        self.intercept, self.weights, self.likenesses, self.contrast = intercept, weights, likenesses, contrast

    def scores(self, task):
        lead, _, _ = leads(task.x @ self.likenesses, task.x[:, self.contrast] > 0, Groups([task]))
        return self.intercept + task.x @ self.weights + lead


def fit(tasks, names, task_weights):
    """The model with the least loss."""
    own = [at for at, name in enumerate(names) if name != "lead"]
    leading = [names.index(name) for name in LEADING]
    contrast = names.index("contrast")
    x = np.vstack([task.x for task in tasks])
    y = np.concatenate([task.y for task in tasks])
    conflict = x[:, contrast] > 0
    scale = x.std(axis=0) + 1e-9
    x_own, x_leading = (x / scale)[:, own], (x / scale)[:, leading]
    groups = Groups(tasks)
    mass = np.concatenate([np.full(len(t.y), w / t.queries) for t, w in zip(tasks, task_weights)]) / sum(task_weights)
    right = np.add.reduceat(y, groups.starts)
    answered, target = groups.spread(right > 0), y / groups.spread(np.maximum(right, 1))
    inside = np.concatenate([task.in_scope[task.groups[task.starts]] for task in tasks]).astype(float)

    def loss(parameters):
        intercept, offset = parameters[:2]
        w, v = parameters[2 : 2 + len(own)], parameters[2 + len(own) :]
        lead, rival, exists = leads(x_leading @ v, conflict, groups)
        z = x_own @ w + intercept + lead
        top = groups.spread(np.maximum.reduceat(z, groups.starts))
        total = groups.spread(np.add.reduceat(np.exp(z - top), groups.starts))
        first, _ = groups.best(z)
        scope = z[first] - offset
        value = (mass * (np.logaddexp(0, z) - y * z - LISTWISE * answered * target * (z - top - np.log(total)))).sum()
        value += SCOPE * (mass[first] * (np.logaddexp(0, scope) - inside * scope)).sum()
        value += L2 / 2 * (w @ w + v @ v)
        residual = mass * (sigmoid(z) - y + LISTWISE * answered * (np.exp(z - top) / total - target))
        scope_residual = SCOPE * mass[first] * (sigmoid(scope) - inside)
        residual[first] += scope_residual
        of_lead = residual.copy()
        np.subtract.at(of_lead, rival[exists], residual[exists])
        gradient = [residual.sum(), -scope_residual.sum()]
        return value, np.r_[gradient, x_own.T @ residual + L2 * w, x_leading.T @ of_lead + L2 * v]

    def bounds(at):
        least, most = BOUNDS.get(names[at], (None, None))
        return (None if least is None else least * scale[at], None if most is None else most * scale[at])

    limits = [(None, None)] * 2 + [bounds(at) for at in own] + [(0.0, None)] * len(leading)
    start = np.r_[np.zeros(2 + len(own)), np.full(len(leading), 0.05)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options={"maxiter": 200}).x
    weights, likenesses = np.zeros(len(names)), np.zeros(len(names))
    weights[own] = found[2 : 2 + len(own)] / scale[own]
    likenesses[leading] = found[2 + len(own) :] / scale[leading]
    return Model(found[0], weights, likenesses, contrast)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def auc(positive, negative):
    """P(positive > negative), ties half."""
    values = np.r_[positive, negative]
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    n, k = len(positive), len(negative)
    return (ranks[:n].sum() - n * (n + 1) / 2) / (n * k) if n and k else float("nan")


def best_hits(task, model):
    """Per query: score of the first hit, whether it is right, whether the right one is among the first five."""
    z = model.scores(task)
    order = np.lexsort((-z, task.groups))
    bounds = np.r_[task.starts, len(z)]
    top, right, shown = np.zeros(task.queries), np.zeros(task.queries, bool), np.zeros(task.queries, bool)
    for start, end in zip(bounds, bounds[1:]):
        rows = order[start:end]
        query = task.groups[rows[0]]
        top[query], right[query], shown[query] = z[rows[0]], task.y[rows[0]] > 0, task.y[rows[:5]].any()
    return top, right, shown


def report(name, task, model):
    top, right, _ = best_hits(task, model)
    inside = task.in_scope
    print(f"{name:28} hit@1 {right[inside].mean():.4f}  auc {auc(top[inside], top[~inside]):.4f}  "
          f"auc(right,rest) {auc(top[right], top[~right]):.4f}")


def sureness(tasks, model, names, task_weights):
    """confidence::sureness: what a crowd of rivals and sounding alike say of a first hit beside its score. By the model that
    ships: it says how sure that one's hits are."""
    sounds, rows, right, mass = names.index("sounds"), [], [], []
    for task, weight in zip(tasks, task_weights):
        z, like = model.scores(task), task.x @ model.likenesses
        like[task.x[:, model.contrast] > 0] = 0.0
        bounds = np.r_[task.starts, len(z)]
        for start, end in zip(bounds, bounds[1:]):
            first = start + np.argmax(z[start:end])
            rivals = np.sort(np.r_[np.delete(like[start:end], first - start), np.zeros(CROWD.stop)])[::-1]
            rows.append((1.0, z[first], rivals[CROWD].mean(), task.x[first, sounds]))
            right.append(task.y[first] > 0)
            mass.append(weight / len(task.starts))
    x, sign, mass = np.array(rows), np.where(right, 1.0, -1.0), np.array(mass)

    def loss(w):
        return (mass * np.logaddexp(0, -sign * (x @ w))).sum()

    _, score, crowd, sounding = minimize(loss, np.zeros(4), method="L-BFGS-B").x
    print(f"sureness: score + {sounding / score:.2f} sounds {crowd / score:+.2f} crowd")


def thresholds(tasks, model):
    """Scores from which pooled precision of the first hit is 95 %, and the right one among five shown is 80 %."""
    found = [best_hits(task, model) for task in tasks]
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
    arguments = parser.parse_args()
    source = Path(__file__).resolve().parents[2] / "src/matching/ranking.rs"
    names, *shipped = table(source)
    tasks = {path.name.split(".")[0]: Task(path) for path in arguments.files}
    fitted = [name for name in tasks if name not in arguments.only_report]

    def fit_on(chosen):
        return fit([tasks[name] for name in chosen], names, [TASK_WEIGHT.get(name, 1.0) for name in chosen])

    for held in arguments.hold:
        out = held.split(",")
        report(out[0] + " (held out)", tasks[out[0]], fit_on([name for name in fitted if name not in out]))
    model = fit_on(fitted)
    for name, task in tasks.items():
        report(name, task, model)
    thresholds([tasks[name] for name in fitted], model)
    intercept, weights, likenesses = shipped
    # The lead is added by scores().
    weights[names.index("lead")] = 0.0
    shipped = Model(intercept, weights, likenesses, names.index("contrast"))
    sureness([tasks[name] for name in fitted], shipped, names, [SURENESS_WEIGHT.get(name, 1.0) for name in fitted])
    print(f"pub const INTERCEPT: f64 = {model.intercept:.3f};")
    for name, weight, likeness in zip(names, model.weights, model.likenesses):
        print(f"    {name} {1.0 if name == 'lead' else weight:.3f}, {likeness:.3f};")


if __name__ == "__main__":
    main()
