"""What is shared out among users."""

from hypothesis import given
from hypothesis import strategies as st

from syncd.serve.budget import Budget

USERS = st.sampled_from([0, 1, 2, None])


def test_one_user_has_half_and_two_a_third() -> None:
    """And whoever comes then still finds some."""
    budget = Budget(12)
    assert sum(budget.take(1) for _ in range(12)) == 6
    assert sum(budget.take(2) for _ in range(12)) == 3
    assert budget.take(None)
    budget.give_back(1, 6)
    assert budget.take(1, 4)
    assert not budget.take(1)
    assert (budget.taken, budget.of(1), budget.of(2)) == (8, 4, 3)


@given(st.integers(2, 50), st.lists(st.tuples(USERS, st.integers(1, 5), st.booleans()), max_size=60))
def test_nobody_has_more_than_was_left(limit: int, steps: list[tuple[int | None, int, bool]]) -> None:
    """However it is taken and given back, it is never overdrawn, and all of it comes back."""
    budget = Budget(limit)
    held: list[tuple[int | None, int]] = []
    for user, amount, taking in steps:
        if taking:
            free, had = limit - budget.taken, budget.of(user)
            if budget.take(user, amount):
                held.append((user, amount))
                assert had + amount <= free
            else:
                assert had + amount > free
        elif held:
            budget.give_back(*held.pop())
        assert budget.taken == sum(amount for _, amount in held) <= limit
    for one in held:
        budget.give_back(*one)
    assert budget.taken == 0
    assert not budget._by_user
