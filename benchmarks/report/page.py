"""The page as a whole: the template with the values of the records. No number is typed by hand."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from revalue.benchmarks.report.costs import (
    position_cost_values,
    profile_values,
    scan_text,
    table_variants_table,
)
from revalue.benchmarks.report.form import Record, correction_day
from revalue.benchmarks.report.lake import lake_reads_values, lake_values
from revalue.benchmarks.report.readers import (
    demo_text,
    herd_values,
    preview_values,
    reads_size,
    reads_table,
    small_table,
)
from revalue.benchmarks.report.scheduler import (
    estimate,
    estimate_of_scheduler,
    scheduler_limit_values,
)
from revalue.benchmarks.report.targets import targets
from revalue.benchmarks.report.throughput import (
    backfill_values,
    growth_table,
    machine_values,
    machines_values,
    memory_table,
    million_table,
    older_values,
    pathway_values,
    phases_table,
    pool_table,
    workloads_table,
)
from revalue.benchmarks.report.years import idle_table, kept_values, load_table, year_values

TEMPLATE = Path(__file__).parents[1] / "performance.md"

_SECTION = re.compile(r"\{\{if (\w+)\}\}\n(.*?)\{\{end\}\}\n", re.DOTALL)


def read(folder: Path) -> Record:
    """Read the records, by name."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))}


def page(records: Record) -> str:
    """Return the whole page: the template with its {{names}} replaced.

    What stands between {{if name}} and {{end}} is left out if no record has it.

    Raises:
        ValueError: the template has a name without a value.
    """
    values = _values(records)

    def section(found: re.Match[str]) -> str:
        return found[2] if found[1] in values else ""

    text = _SECTION.sub(section, TEMPLATE.read_text())
    for name, value in values.items():
        text = text.replace("{{" + name + "}}", value)
    if "{{" in text:
        raise ValueError(
            f"the template needs a value that no record has: {text[text.index('{{') :][:40]}"
        )
    return text


def _values(records: Record) -> dict[str, str]:
    """Return the text of each name in the template."""
    day = correction_day(records)

    def of(name: str, values: Callable[[Any], dict[str, str]]) -> dict[str, str]:
        """Return the values of a record that not everybody has made."""
        return values(records[name]) if name in records else {}

    return {
        **machine_values(records["machine"]),
        "targets": targets(records),
        **(machines_values(records) if _is_another_machine(records) else {}),
        **backfill_values(records["backfill"]),
        "workloads": workloads_table(records["workloads"]),
        "phases": phases_table(records["backfill"], day),
        "memory": memory_table([records["backfill"], *records["workloads"], *records["growth"]]),
        "growth": growth_table(records["growth"]),
        "pool": pool_table(records["pool"]),
        "table_variants": table_variants_table(records["table_variants"]),
        "scan": scan_text(records["scan"]),
        "reads_size": reads_size(records["reads"]),
        "reads": reads_table(records["reads"]),
        **profile_values(records["profile"]),
        **older_values(records),
        **pathway_values(day),
        **(kept_values(day) if day.get("kept_rows") else {}),
        **of("herd", herd_values),
        **of("million", lambda found: {"million": million_table(found)}),
        **of("year", year_values),
        **of("position_cost", position_cost_values),
        **of("idle", lambda found: {"idle": idle_table(found)}),
        **of("small_correction", lambda found: {"small_correction": small_table(found)}),
        **of("demo", lambda found: {"demo": demo_text(found)}),
        **of("load", lambda found: {"load": load_table(found)}),
        **of("scheduler_limit", scheduler_limit_values),
        **of("lake", lambda found: lake_values(found, records["machine"]["cores"])),
        **of("lake_reads", lake_reads_values),
        **preview_values(records["preview"]),
        **estimate(records),
        **estimate_of_scheduler(records),
    }


def _is_another_machine(records: Record) -> bool:
    there = records.get("machine_of_targets")
    return there is not None and there["cpu"] != records["machine"]["cpu"]
