"""All readers of a book, held against the page and against each other."""

import json
import random
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from revalue.console.cli.verify import verify_rows
from revalue.engine.book.book import Book
from revalue.engine.operate.status import read_status
from revalue.engine.postgres.database import Database
from revalue.engine.read.exceptions import exceptions
from revalue.engine.read.report import Wanted
from tests.agreement.compared import (
    arithmetic,
    as_text,
    by_key,
    comparable,
    expect,
    number,
    numbers,
    same,
    same_list,
    typed,
)
from tests.agreement.page import AMOUNTS, EFFECTS, Data, Key
from tests.agreement.steps import DAYS
from tests.lake.test_lake_sql import asked
from tests.support import Engine, fetch


@dataclass
class Kept:
    moment: datetime
    read: dict[str, Any]


class World:
    def __init__(
        self, seed: int, database: Database, running: Engine, book: Book, web: httpx.AsyncClient,
        folder: Path, has_lake: bool,
    ) -> None:  # fmt: skip
        self.draw = random.Random(seed)
        self.database, self.running, self.book, self.web = database, running, book, web
        self.folder, self.has_lake = folder, has_lake
        self.kept: list[Kept] = []
        self.promised: Any = None
        self.data: Data
        self.told: dict[Key, dict[str, Any] | str] = {}
        self.seen: dict[Key, list[tuple[Any, ...] | None]] = {}
        self.is_pruned = False

    async def settle(self) -> None:
        before = self.told
        await self.running.settle()
        self.data = await Data.read(self.database)
        self.told = self.data.told()
        for key in self.told.keys() | before.keys():
            row = self.told.get(key)
            shown = None if row is None or isinstance(row, str) else numbers(row)
            trail = self.seen.setdefault(key, [])
            if (trail[-1] if trail else None) != shown:
                trail.append(shown)
        if self.promised is not None:
            self.check_promise(before)
            self.promised = None

    @property
    def rows(self) -> dict[Key, dict[str, Any]]:
        return {key: row for key, row in self.told.items() if isinstance(row, dict)}

    @property
    def holes(self) -> dict[Key, str]:
        return {key: row for key, row in self.told.items() if isinstance(row, str)}

    def check_promise(self, before: dict[Key, Any]) -> None:
        changed: Counter[tuple[str, date]] = Counter()
        for key in before.keys() | self.told.keys():
            was, now = before.get(key), self.told.get(key)
            if isinstance(now, str):
                continue  # dates that would have no value are left out
            worth_was = was["market_value"] if isinstance(was, dict) else 0
            worth = now["market_value"] if isinstance(now, dict) else 0
            changed[key[0], key[2]] += worth - worth_was
        promised = {
            (row["portfolio_id"], row["date"]):
                row["market_value_after"] - row["market_value_before"]
            for row in self.promised.values.iter_rows(named=True)
        }  # fmt: skip
        same({k: v for k, v in promised.items() if v}, {k: v for k, v in changed.items() if v},
             "preview")  # fmt: skip
        for of in self.promised.portfolios:
            assert of.change == changed[of.portfolio_id, of.date]
            most = max(abs(v) for (p, _), v in changed.items() if p == of.portfolio_id)
            assert abs(of.change) == most, ("preview's date", of, most)

    async def check(self, *, is_last: bool = False) -> None:
        rows = self.rows
        # SQL
        named = ("portfolio_id", "security_id", "date", *AMOUNTS, *EFFECTS)
        found = await fetch(self.database, f"SELECT {', '.join(named)} FROM position_valuations")
        expect(by_key([dict(zip(named, r, strict=True)) for r in found]), rows, "view")
        # Python
        expect(by_key(self.book.valuations().to_dicts()), rows, "valuations", effects=False)
        everything = self.book.positions(DAYS[-1], first_date=DAYS[0])
        self.check_report(everything.to_dicts(), self.told, "positions")
        at = self.draw.choice(DAYS[3:])
        share = 1.0 if is_last else 0.35

        def wants() -> bool:
            return self.draw.random() < share

        shown_at = self.on(at)
        one = self.book.positions(at).to_dicts()
        self.check_report(one, shown_at, f"positions {at}")
        for by in ("portfolio", "currency") if wants() else ():
            totals = self.book.totals(DAYS[-1], first_date=DAYS[0], by=by)
            self.check_totals(totals.to_dicts(), self.told, by, "totals")
            self.check_totals(self.book.totals(at, by=by).to_dicts(), shown_at, by, f"totals {at}")
            answer = await self.ask("/reports/totals", date=at, by=by)
            self.check_totals(answer, shown_at, by, "HTTP totals")
        answer = await self.ask("/reports/positions", **{"from": DAYS[0], "to": DAYS[-1]})
        self.check_report(answer, self.told, "HTTP positions")
        for key in (
            self.draw.sample(sorted(self.data.records), min(2, len(self.data.records)))
            if wants()
            else ()
        ):
            mine = {k: r for k, r in rows.items() if k[:2] == key}
            expect(by_key(self.book.history(*key).to_dicts()), mine, "history", effects=False)
            got = await self.ask(f"/positions/{key[0]}/{key[1]}/history", limit=1000)
            got = [{**r, "portfolio_id": key[0], "security_id": key[1]} for r in got]
            expect(by_key(got), mine, "HTTP history", effects=None)
        if wants():
            await self.check_portfolios(at)
        for key in self.draw.sample(sorted(self.told), min(3, len(self.told))):
            self.check_explained(key)
            self.check_changes(key)
        await self.check_exceptions(at, shown_at)
        await self.check_status()
        checked = await verify_rows(self.database, rows=None, seed=0)
        assert checked.disagreements == checked.in_progress == 0, checked
        assert checked.rows == len(rows), ("verify", checked.rows, len(rows))
        if self.has_lake and wants():
            told = await asked(self.database, "SELECT * FROM position_valuations")
            expect(by_key(told.to_dicts()), rows, "duckdb", effects=None)
            await self.check_sql_sums()
        if rows and wants():
            self.book.export(self.folder / "table", format="parquet")
            listed = json.loads((self.folder / "table/current.json").read_text())
            frames = [pl.read_parquet(self.folder / "table" / f["path"]) for f in listed["files"]]
            expect(by_key(pl.concat(frames).to_dicts() if frames else []), rows, "export")
        if wants():
            await self.check_past()
        await self.keep(at, everything)

    async def check_partway(self) -> None:
        """Corrected and not valued again: readers tell the same, whatever it is."""
        at = self.draw.choice(DAYS[3:])
        named = ("portfolio_id", "security_id", "date", "reprocessing_status", *AMOUNTS, *EFFECTS)
        found = await fetch(self.database, f"SELECT {', '.join(named)} FROM position_valuations")
        view = by_key([dict(zip(named, row, strict=True)) for row in found])
        everything = self.book.positions(DAYS[-1], first_date=DAYS[0])
        valued = [r for r in everything.to_dicts() if r["market_value"] is not None]
        data = await Data.read(self.database)
        opened = {
            (portfolio, day)
            for portfolio, (_, calendar) in data.portfolios.items()
            for day in data.calendars[calendar]
            if data.opened[calendar] is not None and day <= data.opened[calendar]
        }
        in_reports = {k: r for k, r in view.items() if (k[0], k[2]) in opened}
        withdrawn = [r for k, r in view.items() if k not in in_reports]
        # A report has opened business days only; the rows of others are marked until they go.
        assert all(r["reprocessing_status"] == "IN_PROGRESS" for r in withdrawn), withdrawn
        expect(by_key(valued), in_reports, "positions partway")
        expect(by_key(self.book.valuations().to_dicts()), view, "valuations partway", effects=False)
        flags = {k: r["reprocessing_status"] for k, r in view.items()}
        same({k: r["reprocessing_status"] for k, r in by_key(valued).items()},
             {k: flags[k] for k in in_reports}, "flags")  # fmt: skip
        if self.has_lake and self.draw.random() < 0.3:
            told = by_key(
                (await asked(self.database, "SELECT * FROM position_valuations")).to_dicts()
            )
            expect(told, view, "duckdb partway", effects=None)
            same({k: r["reprocessing_status"] for k, r in told.items()}, flags, "duckdb flags")
        one = self.book.positions(at)
        sums: dict[tuple[str, date], Counter[str]] = {}
        for row in one.to_dicts():
            total = sums.setdefault((row["portfolio_id"], row["date"]), Counter())
            total["lines"] += 1
            total["lines_reprocessing"] += row["reprocessing_status"] == "IN_PROGRESS"
            total["lines_missing"] += row["valuation_status"] == "NOT_VALUED"
            total["market_value"] += row["market_value"] or 0
        for row in await self.ask("/reports/totals", date=at):
            want = sums.pop((row["portfolio_id"], row["date"]))
            for name in ("lines", "lines_reprocessing", "lines_missing"):
                assert row[name] == want[name], ("totals partway", name, row, want)
            assert (row["market_value"] or 0) == want["market_value"], ("totals partway", row, want)
        assert not sums, ("totals partway lack", sums)
        lines = (await exceptions(self.database, Wanted(last_date=at))).to_dicts()
        told_by = {
            "NOT_VALUED": (one["valuation_status"] == "NOT_VALUED").sum(),
            "REPROCESSING": ((one["reprocessing_status"] == "IN_PROGRESS")
                             & one["market_value"].is_not_null()).sum(),
            "NO_VALUE": (one["valuation_status"] == "WAITING_FOR_DATA").sum(),
        }  # fmt: skip
        for kind, count in told_by.items():
            listed = sum(r["positions"] for r in lines if r["kind"] == kind)
            assert listed == count, ("exceptions partway", kind, listed, count)
        states = Counter(r for (r,) in await fetch(
            self.database, "SELECT state FROM position_status"))  # fmt: skip
        status = await read_status(self.database, exact=True)
        same(status.positions, dict(states), "status partway")
        await self.keep(at, everything)

    def on(self, day: date) -> dict[Key, Any]:
        """What is told of a date: of each calendar its last opened business day at or before it."""
        last = {
            calendar: max(
                (d for d in days if d <= day and self.data.opened[calendar]
                 and d <= self.data.opened[calendar]), default=None)
            for calendar, days in self.data.calendars.items()
        }  # fmt: skip
        return {k: r for k, r in self.told.items() if last[self.data.portfolios[k[0]][1]] == k[2]}

    async def ask(self, path: str, **query: Any) -> list[dict[str, Any]]:
        answer = await self.web.get(path, params=query)
        assert answer.status_code == 200, (path, query, answer.text)
        body = answer.json()
        assert not body.get("next"), (path, "has more pages")
        return [typed(row) for row in body["items"]]

    def check_report(self, got: list[dict[str, Any]], told: dict[Key, Any], who: str) -> None:
        values = [r for r in got if r["valuation_status"].startswith("VALUED")]
        rest = {(r["portfolio_id"], r["security_id"], r["date"]): r for r in got
                if not r["valuation_status"].startswith("VALUED")}  # fmt: skip
        assert len(values) + len(rest) == len(got)
        expect(by_key(values), {k: r for k, r in told.items() if isinstance(r, dict)}, who)
        same({k: r["failure_reason"] for k, r in rest.items()},
             {k: r for k, r in told.items() if isinstance(r, str)}, who)  # fmt: skip
        for row in got:
            assert row["reprocessing_status"] == "CURRENT", (who, row)
            portfolio = self.data.portfolios[row["portfolio_id"]]
            assert row["base_currency"] == portfolio[0]
            assert row["local_currency"] == self.data.instruments[row["security_id"]][0]
        for row in rest.values():
            assert row["market_value"] is None
            assert row["valuation_status"] == "WAITING_FOR_DATA"

    def totals(self, told: dict[Key, Any], by: str) -> dict[Any, dict[str, Any]]:
        sums: dict[Any, dict[str, Any]] = {}
        for (portfolio, _, day), row in told.items():
            base = self.data.portfolios[portfolio][0]
            total = sums.setdefault(
                (portfolio, base, day) if by == "portfolio" else (base, day), Counter()
            )
            total["lines"] += 1
            if isinstance(row, str):
                total["lines_waiting"] += 1
                continue
            total["lines_valued"] += 1
            total["lines_stale"] += row["valuation_status"] == "VALUED_STALE"
            for name in ("market_value", "cost_basis", "unrealized_gain", *EFFECTS):
                total[name] += row[name]
        return sums

    def check_totals(self, got: Any, told: dict[Key, Any], by: str, who: str) -> None:
        keys = ("portfolio_id", "base_currency", "date")[by != "portfolio" :]
        expected = self.totals(told, by)
        same({tuple(r[k] for k in keys) for r in got}, set(expected), who)
        for row in got:
            want = expected[tuple(row[k] for k in keys)]
            for name in ("lines", "lines_valued", "lines_stale", "lines_waiting", "lines_missing",
                         "lines_reprocessing"):  # fmt: skip
                assert row[name] == want[name], (who, name, row, want)
            for name in ("market_value", "cost_basis", "unrealized_gain", *EFFECTS):
                wanted = want[name] if want["lines_valued"] else None
                assert row[name] == wanted, (who, name, row, want)

    async def check_portfolios(self, at: date) -> None:
        for portfolio, (_base, calendar) in self.data.portfolios.items():
            days = {d for d in self.data.calendars[calendar] if self.data.opened[calendar]
                    and d <= self.data.opened[calendar]}  # fmt: skip
            got = await self.ask(f"/portfolios/{portfolio}/positions", as_of=at, limit=1000)
            upto = [d for d in days if d <= at]
            if upto:
                told = {k: r for k, r in self.told.items()
                        if k[0] == portfolio and k[2] == max(upto)}  # fmt: skip
                got_by = {r["security_id"]: r for r in got}
                for (_, security, _), row in told.items():
                    have = got_by.pop(security)
                    for name in AMOUNTS:
                        wanted = row[name] if isinstance(row, dict) else None
                        if isinstance(row, str) and name == "valuation_status":
                            wanted = "WAITING_FOR_DATA"
                        if name in have and not (isinstance(row, str) and have[name] is not None
                                                 and name in ("quantity", "cost_basis_local",
                                                              "cost_basis")):  # fmt: skip
                            assert have[name] == wanted, ("HTTP positions of", name, have, row)
                assert not got_by, ("HTTP positions of a portfolio has more", got_by)
            got = await self.ask(
                f"/portfolios/{portfolio}/valuation",
                **{"from": DAYS[0], "to": DAYS[-1], "limit": 1000},
            )
            wanted = self.totals({k: r for k, r in self.told.items() if k[0] == portfolio},
                                 "portfolio")  # fmt: skip
            wanted = {k[2]: v for k, v in wanted.items()}
            for row in got:
                want = wanted.pop(row["date"], Counter())
                for name in ("market_value", "cost_basis", "unrealized_gain", *EFFECTS):
                    if name in row:
                        total = want[name] if want["lines_valued"] else None
                        assert (row[name] or 0) == (total or 0), (portfolio, name, row, want)
                for name in ("lines", "lines_valued", "lines_stale", "lines_waiting",
                             "lines_missing"):  # fmt: skip
                    if name in row:
                        assert row[name] == want[name], (portfolio, name, row, want)
            assert not wanted, ("HTTP valuation lacks", wanted)

    def check_explained(self, key: Key) -> None:
        told = self.told[key]
        found = self.book.explain(*key)
        if isinstance(told, str):
            assert (found.verdict, found.missing) == ("MISSING", told), (key, found)
        else:
            assert found.verdict == "AGREES", found
            for name in AMOUNTS:
                assert found.stored[name] == told[name] == found.computed[name], (name, found)
        for step in found.steps:
            if (printed := arithmetic(step)) is not None:
                computed, result = printed
                assert computed == result, ("explain's arithmetic", key, step, computed)
        if isinstance(told, dict) and told["quantity"]:
            last = next(s for s in found.steps if s.startswith("Market value:"))
            assert number(re.search(r"= (\S+)", last)[1]) == told["market_value"], (key, last)
            last = next(s for s in found.steps if s.startswith("Of which"))
            _, by_price, by_rate = re.match(r"(Of which) price (\S+) and FX (\S+)", last).groups()
            assert number(by_price) == told["price_effect"], (key, last, told)
            assert number(by_rate) == told["fx_effect"], (key, last, told)

    def check_changes(self, key: Key) -> None:
        got = self.book.changes(*key).to_dicts()
        trail = [each for each in self.seen[key] if each is not None]
        told = self.told[key]
        shown = [r for r in got if r["is_shown"]]
        if isinstance(told, dict):
            assert [numbers(r) for r in shown] == [numbers(told)], (key, got, told)
        else:
            assert not shown, (key, got)
        older = iter([numbers(r) for r in reversed(got)])
        lost = [seen for seen in reversed(trail) if seen not in older]  # `in` goes on in `older`
        assert self.is_pruned or not lost, ("changes lacks", key, lost, got)

    async def check_exceptions(self, at: date, told: dict[Key, Any]) -> None:
        got = await exceptions(self.database, Wanted(last_date=at))
        over_http = await self.ask("/exceptions", date=at)
        assert len(over_http) == len(got), ("HTTP exceptions", len(over_http), len(got))
        rows = got.to_dicts()
        for one, other in zip(over_http, rows, strict=True):
            for name in one.keys() & other.keys():
                assert as_text(one[name]) == as_text(other[name]), (name, one, other)
        before = self.before(told)
        money: dict[Any, list[Any]] = {}

        def add(kind: str, subject: str, base: str, key: Key, detail: str = "") -> None:
            money.setdefault((kind, subject, base, key[2], detail), []).append(key)

        for key, row in told.items():
            base = self.data.portfolios[key[0]][0]
            local = self.data.instruments[key[1]][0]
            if isinstance(row, str):
                reason, subject, since = row.split()
                add("NO_VALUE", subject, base, key, f"{reason} {since}")
                continue
            if row["valuation_status"] == "VALUED_STALE":
                is_old_rate = row["fx_date"] and row["fx_date"] < key[2]
                if row["price_date"] < key[2]:
                    add("OLD_PRICE", key[1], base, key, f"price of {row['price_date']}")
                elif not is_old_rate:
                    assert row["conversion_date"] < key[2]
                    detail = f"price of {key[2]}, converted at an older rate"
                    add("OLD_PRICE", key[1], base, key, detail)
                if is_old_rate:
                    add("OLD_RATE", f"{local}/{base}", base, key, f"rate of {row['fx_date']}")
        for (kind, subject, base, day, detail), keys in money.items():
            mine = [r for r in rows if (r["kind"], r["subject"], r["base_currency"], r["date"])
                    == (kind, subject, base, day) and r["detail"] == detail]  # fmt: skip
            assert len(mine) == 1, ("exceptions", kind, subject, base, day, detail, mine, rows)
            [line] = mine
            assert line["positions"] == len(keys), ("exceptions", line, keys)
            known = []
            for key in keys:
                row, was = told[key], before.get(key[:2])
                worth = row["market_value"] if isinstance(row, dict) else (
                    was["market_value"] if isinstance(was, dict) else None)  # fmt: skip
                known += [] if worth is None else [worth]
            assert line["market_value"] == (sum(known) if known else None), (line, known)
        kinds = Counter(r["kind"] for r in rows)
        for kind in ("NO_VALUE", "OLD_PRICE", "OLD_RATE", "NOT_VALUED", "FAILED", "REPROCESSING"):
            assert kinds[kind] == sum(k[0] == kind for k in money), (kind, kinds, money)
        for line in rows:
            if line["kind"] == "VALUE_MOVE":
                portfolio, security = line["subject"].split(" / ")
                now = told[portfolio, security, line["date"]]
                was = before.get((portfolio, security))
                worth = was["market_value"] if isinstance(was, dict) else 0
                assert line["change"] == now["market_value"] - worth, (line, now, was)
        # Every move beyond the limit from what the same position showed the day before is listed.
        for key, row in told.items():
            was = before.get(key[:2])
            if not isinstance(row, dict) or not isinstance(was, dict):
                continue
            base = self.data.portfolios[key[0]][0]
            local = self.data.instruments[key[1]][0]
            for name, kind, subject in (
                ("price", "PRICE_MOVE", key[1]),
                ("fx_rate", "RATE_MOVE", f"{local}/{base}"),
            ):
                if not row[name] or not was[name]:
                    continue
                moved = (row[name] / was[name] - 1) * 100
                listed = [r for r in rows if (r["kind"], r["subject"], r["base_currency"])
                          == (kind, subject, base) and r["value"] == row[name]
                          and r["value_before"] == was[name]]  # fmt: skip
                assert bool(listed) == (abs(moved) > 20), (kind, key, moved, listed)
                if listed:
                    assert abs(listed[0]["move_percent"] - float(moved)) < 1e-3

    def before(self, told: dict[Key, Any]) -> dict[tuple[str, str], Any]:
        """Of each position what was told on its business day before."""
        found = {}
        for portfolio, (_, calendar) in self.data.portfolios.items():
            day = next((k[2] for k in told if k[0] == portfolio), None)
            if day is None:
                continue
            earlier = [d for d in self.data.calendars[calendar] if d < day]
            if not earlier:
                continue
            for key, row in self.told.items():
                if key[0] == portfolio and key[2] == earlier[-1]:
                    found[key[:2]] = row
        return found

    async def check_status(self) -> None:
        status = await read_status(self.database, exact=True)
        of_positions: dict[tuple[str, str], list[Key]] = {}
        for key in self.holes:
            of_positions.setdefault(key[:2], []).append(key)
        waiting = len(of_positions)
        # A position whose load was taken back has no record any more, and is one all the same.
        [(positions,)] = await fetch(self.database, "SELECT count(*) FROM position_state")
        current = positions - waiting
        want = {"CURRENT": current, "WAITING_FOR_DATA": waiting}
        same(status.positions, {k: v for k, v in want.items() if v}, "status")
        holes = [key[2] for key in self.holes]
        assert (status.first_hole, status.last_hole) == (
            (min(holes), max(holes)) if holes else (None, None)
        ), (status, sorted(holes))
        reasons = Counter(self.told[min(keys)].split()[0] for keys in of_positions.values())
        same({r[0]: r[1] for r in status.reasons}, dict(reasons), "reasons")
        answer = await self.web.get("/status")
        if answer.status_code == 200:
            body = answer.json()
            assert body["positions"] == status.positions, body
        head = await self.web.get("/portfolios", params={"limit": 100})
        assert head.status_code == 200

    async def check_sql_sums(self) -> None:
        told = await asked(
            self.database,
            """SELECT base_currency, date, sum(market_value) AS worth, count(*) AS rows
               FROM position_valuations GROUP BY ALL""",
        )
        want: Counter[Any] = Counter()
        for key, row in self.rows.items():
            want[self.data.portfolios[key[0]][0], key[2]] += row["market_value"]
        got = {(r["base_currency"], r["date"]): Decimal(r["worth"]) for r in told.to_dicts()}
        same(got, dict(want), "lake sql sums")

    async def keep(self, at: date, everything: pl.DataFrame) -> None:
        [(moment,)] = await fetch(self.database, "SELECT clock_timestamp()")
        read: dict[str, Any] = {
            "positions": comparable(everything),
            "totals": comparable(self.book.totals(DAYS[-1], first_date=DAYS[0])),
            "valuations": self.book.valuations().to_dicts(),
            "at": at,
            "one": comparable(self.book.positions(at)),
            "by currency": comparable(self.book.totals(at, by="currency")),
        }
        self.kept.append(Kept(moment, read))

    async def check_past(self) -> None:
        for kept in self.draw.sample(self.kept, min(2, len(self.kept))):
            moment, at = kept.moment, kept.read["at"]
            again = {
                "positions": comparable(
                    self.book.positions(DAYS[-1], first_date=DAYS[0], known_at=moment)
                ),
                "totals": comparable(
                    self.book.totals(DAYS[-1], first_date=DAYS[0], known_at=moment)
                ),
                "valuations": self.book.valuations(known_at=moment).to_dicts(),
                "at": at,
                "one": comparable(self.book.positions(at, known_at=moment)),
                "by currency": comparable(self.book.totals(at, by="currency", known_at=moment)),
            }
            for name, was in kept.read.items():
                same_list(again[name], was, f"known_at {moment} {name}")
            if self.has_lake:
                told = await asked(
                    self.database, "SELECT * FROM position_valuations", known_at=moment
                )
                then = {(r["portfolio_id"], r["security_id"], r["date"]): r["market_value"]
                        for r in kept.read["valuations"]}  # fmt: skip
                same({(r["portfolio_id"], r["security_id"], r["date"]): r["market_value"]
                      for r in told.to_dicts()}, then, "duckdb known_at")  # fmt: skip
            http = await self.ask(
                "/reports/positions",
                **{"from": DAYS[0], "to": DAYS[-1], "known_at": moment.isoformat()},
            )
            same_list(comparable(pl.DataFrame(http, infer_schema_length=None))
                      if http else [], kept.read["positions"], "HTTP known_at")  # fmt: skip
