"""Adds the rows of sales.csv to a table. Run twice, it adds them twice: nothing says that they are the same rows."""

import csv
import sqlite3
import sys

with open("sales.csv", newline="") as file:
    rows = [(row["id"], row["item"], row["amount"]) for row in csv.DictReader(file)]

database = sqlite3.connect(sys.argv[1])
with database:
    database.execute("CREATE TABLE IF NOT EXISTS sales (id INTEGER, item TEXT, amount INTEGER)")
    database.executemany("INSERT INTO sales VALUES (?, ?, ?)", rows)
database.close()
print(len(rows), "rows loaded")
