"""Tells what may be told of a table that only this program reads: counts and means by group.

    ages.py TABLE.csv

It is an ordinary program of Python's standard library. On the way it does what some walled gardens
cannot: it forks, starts another program, loads C extensions, and keeps a database.
"""

import csv
import hashlib
import json
import os
import sqlite3
import statistics
import subprocess
import sys


def load(path):
    """The table as a database in memory, and the digest of its bytes."""
    with open(path, "rb") as file:
        content = file.read()
    rows = list(csv.DictReader(content.decode().splitlines()))
    database = sqlite3.connect(":memory:")
    database.execute("create table people (name text, town text, age integer)")
    database.executemany("insert into people values (:name, :town, :age)", rows)
    return database, hashlib.sha256(content).hexdigest()


def in_a_fork(work):
    """What work() returns, computed by a forked child and sent through a pipe."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        os.write(writes, json.dumps(work()).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        answer = json.load(pipe)
    _, status = os.waitpid(child, 0)
    if status != 0:
        sys.exit(f"ages: the child ended with {status}")
    return answer


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    database, digest = load(sys.argv[1])
    for town, count, mean in database.execute(
        "select town, count(*), avg(age) from people group by town having count(*) > 1 order by town"
    ):
        print(f"{town}: {count} people, mean age {mean:.1f}")
    ages = [age for (age,) in database.execute("select age from people")]
    print("median age, by a forked child:", in_a_fork(lambda: statistics.median(ages)))
    other = [sys.executable, "-c", "import sys; print(sum(map(int, sys.stdin.read().split())))"]
    done = subprocess.run(
        other, input=" ".join(map(str, ages)), capture_output=True, text=True, check=True
    )
    print("sum of ages, by another program:", done.stdout.strip())
    print("table:", digest[:16])


if __name__ == "__main__":
    main()
