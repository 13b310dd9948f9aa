"""Logs of jobs that finished attempts could not value: one line per cause, not per job or date."""

import logging
from collections.abc import Sequence

from revalue.engine import logs
from revalue.engine.core.lifecycle import JobStatus
from revalue.engine.core.tasks import Task
from revalue.engine.postgres.database import Connections
from revalue.engine.postgres.statement import statements

sql = statements(__package__)

_log = logs.logger("valuation")


async def log_unfinished_jobs(database: Connections, tasks: Sequence[Task]) -> None:
    """Log the jobs that failed (ERROR) or wait for data (INFO), one line per reason and subject.

    The subject is a security or a currency pair.
    """
    if not tasks:
        return
    logs_waiting = logging.getLogger("revalue.valuation").isEnabledFor(logging.INFO)
    statuses = [JobStatus.FAILED.value]
    if logs_waiting:
        statuses.append(JobStatus.WAITING_FOR_DATA.value)
    async with database.connection() as connection:
        rows = await sql("unfinished_jobs").fetch(
            connection,
            tasks=[task.task_id for task in tasks],
            statuses=statuses,
        )
    for row in rows:
        details = {
            "reason": row["reason"],
            "subject": row["subject"],
            "dates": logs.ranges(zip(row["first_dates"], row["last_dates"], strict=True)),
            "portfolio": logs.abbreviated(row["portfolios"]),
            "security": logs.abbreviated(row["securities"]),
            "epoch": logs.ranges((epoch, epoch) for epoch in row["epochs"]),
            "job": logs.ranges((job, job) for job in row["jobs"]),
            "trigger": logs.ranges((trigger, trigger) for trigger in row["triggers"]),
        }
        if row["status"] == JobStatus.FAILED.value:
            _log.error("jobs failed", **details)
        else:
            _log.info("jobs wait for data", **details)
