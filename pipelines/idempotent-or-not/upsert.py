"""Puts the rows of sales.csv into a table by their key. Run twice, or cut off and run again, it leaves the same table."""

import csv
import sqlite3
import sys

with open("sales.csv", newline="") as file:
    rows = [(row["id"], row["item"], row["amount"]) for row in csv.DictReader(file)]

database = sqlite3.connect(sys.argv[1])
with database:
    database.execute("CREATE TABLE IF NOT EXISTS sales (id INTEGER PRIMARY KEY, item TEXT, amount INTEGER)")
    database.executemany(
        "INSERT INTO sales VALUES (?, ?, ?)"
        " ON CONFLICT (id) DO UPDATE SET item = excluded.item, amount = excluded.amount",
        rows,
    )
database.close()
print(len(rows), "rows loaded")
