import math

import pytest

from trainyard.measure.throughput import find_largest


@pytest.mark.parametrize("most", [1, 2, 3, 6, 16, 100])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 5, 16, 63, 100, 1000])
def test_the_largest_that_fits_is_found_in_few_trials(most, limit):
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= limit

    assert find_largest(fits, most) == (min(most, limit) or None)
    assert len(tried) == len(set(tried)) <= 2 * math.log2(most) + 2
    assert all(1 <= batch <= most for batch in tried)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 100])
def test_a_search_begins_with_the_fewest_that_can_be_tried(limit):
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= limit

    assert find_largest(fits, 8, 2) == (min(limit, 8) if limit >= 2 else None)
    assert min(tried) == 2
