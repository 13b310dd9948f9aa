#!/usr/bin/env bash
# One evening: load the day's files, value the day, write its numbers, and list what wants a look.
#
#   nightly.sh DATE FOLDER
#
# FOLDER has fx_rates.csv, prices.csv and positions.csv. It can be run again at any time: a file that
# is loaded already changes nothing. Its exit code is that of the command that has ended it
# (docs/schedule.md). With 5 some positions have no value of the day: its exceptions are written, and
# its totals are not.
set -euo pipefail
day=$1
cd "$2"
for kind in fx_rates prices positions; do
    revalue load "$kind" "$kind.csv"
done
code=0
revalue value --through "$day" --quiet || code=$?
if [ "$code" -ne 0 ] && [ "$code" -ne 5 ]; then
    exit "$code"
fi
revalue exceptions --date "$day" --output "exceptions-$day.csv"
if [ "$code" -eq 0 ]; then
    revalue verify --rows 10000
    revalue read totals --date "$day" --output "totals-$day.csv"
fi
exit "$code"
