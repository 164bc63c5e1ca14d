"""Writes probe_cases.json: what scikit-learn makes of probes that the goldens
do not cover. usage: make_probe_cases.py > probe_cases.json

Rows are drawn once and stored; all fits are in float64.
"""

import json
import sys

import numpy as np
import sklearn
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

SEED, ROWS, WIDTH = 17, 90, 12


def main():
    rng = np.random.default_rng(SEED)
    classes = np.arange(ROWS) % 3
    x = rng.normal(size=(ROWS, WIDTH)) * np.linspace(0.5, 3, WIDTH)
    x += rng.normal(size=(3, WIDTH))[classes]
    x = x.astype("f4").astype("f8")
    fold = rng.permutation(ROWS) % 3
    scaled = StandardScaler().fit_transform(x)
    softmax = LogisticRegression(C=0.1, tol=1e-12, max_iter=10000).fit(scaled, classes)
    aucs = []
    for k in range(3):
        scaler = StandardScaler().fit(x[fold != k])
        fit = LogisticRegression(C=0.1, tol=1e-12, max_iter=10000)
        fit.fit(scaler.transform(x[fold != k]), classes[fold != k])
        scores = fit.decision_function(scaler.transform(x[fold == k]))
        own = classes[fold == k]
        aucs.append(np.mean([roc_auc_score(own == c, scores[:, c]) for c in range(3)]))
    two = classes < 2
    lda = {}
    for shrinkage in (0.1, 0.6):
        fit = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)
        fit.fit(x[two], classes[two])
        lda[str(shrinkage)] = {
            "coef": fit.coef_[0].tolist(),
            "intercept": float(fit.intercept_[0]),
        }
    json.dump(
        {
            "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
            "seed": SEED,
            "rows": x.tolist(),
            "classes": classes.tolist(),
            "folds": fold.tolist(),
            "softmax": {
                "coef": softmax.coef_.tolist(),
                "intercept": softmax.intercept_.tolist(),
                "fold_aucs": aucs,
            },
            "lda": lda,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
