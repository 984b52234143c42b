"""Several tests at once: Holm's p-values against another package and by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests

from metalearners.evaluation.multiplicity import holm

p_values = st.lists(st.floats(min_value=0, max_value=1), min_size=1, max_size=12)


@pytest.mark.slow
@given(p_values)
def test_holm_agrees_with_statsmodels(p):
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], atol=1e-15)


def test_holm_by_hand():
    """3 x .01; 2 x .03; then .04 may not be below the .06 of the test before it."""
    np.testing.assert_allclose(holm([0.04, 0.01, 0.03]), [0.06, 0.03, 0.06])


@pytest.mark.parametrize("p", [[0.5, 1.2], [-0.1], [np.nan], [], [[0.1]]])
def test_what_isn_t_a_column_of_probabilities_is_refused(p):
    with pytest.raises(ValueError, match="Expected"):
        holm(p)
