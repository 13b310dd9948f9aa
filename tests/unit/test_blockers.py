"""Who holds a lock is said in words."""

from revalue.engine.postgres.blockers import Blocker


def test_a_process_of_the_server_has_no_user_and_is_not_to_be_terminated() -> None:
    for application, name in (
        ("autovacuum worker", "a process of the database server, pid 7 (autovacuum worker)"),
        ("", "a process of the database server, pid 7"),  # for whoever may not see what it is
    ):
        blocker = Blocker(7, None, application, "3/1", None, "market_prices")
        assert str(blocker) == name
        assert "pg_terminate_backend" not in blocker.advice
    session = Blocker(7, "feed", "psql", "3/1", None, "market_prices")
    assert str(session) == "database session pid 7 (user feed, application psql)"
    assert "pg_terminate_backend(7)" in session.advice
