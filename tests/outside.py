"""Estimators of effects with the signatures of other packages: the truth of each is by hand."""

import numpy as np


class EconStyle:
    """EconML's signature: differences of means on either side of 0 in the last feature."""

    def __init__(self, *, shift=0.0, discrete_treatment=False, n_jobs=-1, random_state=None):
        self.shift = shift
        self.discrete_treatment = discrete_treatment
        self.n_jobs = n_jobs
        self.random_state = random_state

    def fit(self, Y, T, *, X=None, W=None, sample_weight=None, inference="auto"):
        assert self.discrete_treatment
        assert self.n_jobs == 1
        assert X.dtype == float
        weight = np.ones(len(Y)) if sample_weight is None else sample_weight
        side = X[:, -1] > 0
        self.means_ = {
            (k, s): np.average(Y[own := (k == T) & (side == s)], weights=weight[own])
            for k in np.unique(T)
            for s in (False, True)
        }
        return self

    def effect(self, X=None, *, T0=0, T1=1):
        means = [self.means_[T1, s] - self.means_[T0, s] for s in (False, True)]
        return self.shift + np.where(X[:, -1] > 0, means[1], means[0])


class CausalStyle:
    """causalml's signature: the control goes by a label, `predict` tells all arms."""

    def __init__(self, control_name, scale=1.0):
        self.control_name = control_name
        self.scale = scale

    def fit(self, X, treatment, y):
        self.arms_ = sorted(set(treatment) - {self.control_name})
        control = y[treatment == self.control_name].mean()
        self.effects_ = [y[treatment == arm].mean() - control for arm in self.arms_]

    def predict(self, X, treatment=None, y=None):
        effects = np.tile(self.scale * np.array(self.effects_), (len(X), 1))
        return effects[:, 0] if len(self.arms_) == 1 else effects


class Plain:
    """`fit` of X, y and w; noise by its seed, which `effect` repeats."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y, w):
        self.noise_ = np.random.default_rng(self.random_state).normal(size=X.shape[1])
        return self

    def effect(self, X):
        return X @ self.noise_


class WithoutArms:
    """No estimator of effects."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return np.zeros(len(X))


class TellsNothing:
    """`fit` as it should be, but no effects."""

    def fit(self, X, y, w):
        return self


class Asking(Plain):
    """Wants more than the run has."""

    def fit(self, X, y, w, instrument):
        return self


class Lost(Plain):
    """Effects of too few rows."""

    def effect(self, X):
        return super().effect(X)[1:]
