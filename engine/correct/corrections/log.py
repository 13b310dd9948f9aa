"""Log the corrections that were committed: later log lines share their trigger ids."""

from revalue.engine import logs
from revalue.engine.correct.authors import Author, as_logged
from revalue.engine.correct.corrections.corrections import Correction
from revalue.engine.correct.corrections.files import FileCorrection
from revalue.engine.correct.corrections.together import Together
from revalue.engine.correct.policy.policy import PolicyCorrection
from revalue.engine.correct.splits.splits import SplitCorrection

_log = logs.logger("corrections")


def log_together(made: Together, author: Author) -> None:
    """Log committed corrections. Later log lines share their trigger ids."""
    _log.info(
        "corrected together",
        what=[f"{each.what}: {each.old} -> {each.new}" for each in made.made],
        trigger=logs.ranges((trigger, trigger) for trigger in made.trigger_ids),
        positions=made.positions,
        **as_logged(author),
    )


def log_correction(
    made: Correction | FileCorrection | SplitCorrection | PolicyCorrection,
    author: Author | None = None,
) -> None:
    """Log a committed correction, and who has made it. Later log lines share its trigger ids."""
    by = as_logged(author)
    if isinstance(made, PolicyCorrection):
        _log.info(
            "policy changed",
            pivot=made.new.pivot,
            fx_max_age=made.new.fx_max_age,
            trigger=logs.ranges((trigger, trigger) for trigger in made.trigger_ids),
            **by,
        )
        return
    if isinstance(made, SplitCorrection):
        _log.info(
            "split made",
            security=made.security,
            date=str(made.date),
            ratio=made.ratio,
            holders=made.holders,
            load=made.load_id,
            trigger=logs.ranges((trigger, trigger) for trigger in made.trigger_ids),
            **by,
        )
        return
    if isinstance(made, FileCorrection):
        triggers = logs.ranges((trigger, trigger) for trigger in made.trigger_ids)
        _log.info(
            "file corrected",
            kind=made.kind,
            rows=made.rows,
            changed=made.changed,
            trigger=triggers,
            positions=made.positions,
            **by,
        )
        return
    ids = {"portfolio": made.portfolio, "security": made.security, "trigger": made.trigger_id}
    given = {name: value for name, value in ids.items() if value is not None}
    _log.info(
        "corrected",
        what=made.what,
        old=made.old,
        new=made.new,
        positions=made.positions,
        dates=[str(each) for each in made.dates],
        **given,
        **by,
    )
