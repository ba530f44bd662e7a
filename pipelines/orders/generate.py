"""Makes up what a shop's systems send: orders of some days as they really come, with all that goes wrong.

    generate.py SEED DAYS FOLDER

Each day is a file of JSON Lines in FOLDER, in the order in which the messages came: most orders are there once, many
come again when they change or are cancelled, some are sent twice, some old messages arrive a day late. A second shop sends its
orders once, as a compressed CSV table. A few messages are broken. The same seed makes the same days, so one more day is one more
file.
"""

import csv
import datetime
import gzip
import io
import json
import pathlib
import random
import sys

FIRST_DAY = datetime.datetime(2026, 3, 2, 8, 0)
PRODUCTS = {"tea": 450, "coffee": 790, "honey": 620, "bread": 380, "cheese": 1250, "olives": 540}
NAMES = ["Ada Byron", "grace hopper", "  Alan Turing", "EDSGER DIJKSTRA", "Barbara Liskov ", "Tony Hoare"]
PER_DAY = 500


def stamp(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def order(draw, number, time):
    product = draw.choice(list(PRODUCTS))
    price = f"{PRODUCTS[product] / 100:.2f}"
    return {
        "id": number,
        "customer": {"name": draw.choice(NAMES), "country": draw.choice(["DE", "FR", "NL", "de"])},
        "product": draw.choice([product, product, product.upper()]),
        "quantity": draw.randint(1, 5),
        # Two versions of the till, two ideas of a price.
        "price": draw.choice([price, float(price), price.replace(".", ",") + " €"]),
        "updated": stamp(time),
    }


def messages(seed, day):
    """Returns what happens to the orders of a day: (when it arrives, the message)."""
    draw = random.Random(f"{seed}/{day}")
    sent = []
    for number in range(PER_DAY):
        time = FIRST_DAY + datetime.timedelta(days=day, seconds=60 * number)
        first = order(draw, f"A-{day + 1}{number:03}", time)
        delay = datetime.timedelta(days=1) if draw.random() < 0.04 else datetime.timedelta(0)
        sent.append((time + delay, first))
        if draw.random() < 0.06:
            sent.append((time + datetime.timedelta(seconds=5), first))  # sent twice
        if draw.random() < 0.20:
            later = time + datetime.timedelta(hours=draw.randint(1, 30))
            changed = {**first, "quantity": draw.randint(1, 9), "updated": stamp(later)}
            sent.append((later, changed))
        if draw.random() < 0.05:
            later = time + datetime.timedelta(hours=draw.randint(2, 40))
            sent.append((later, {"id": first["id"], "cancelled": True, "updated": stamp(later)}))
    return sent


def broken(day, lines):
    """Puts in what no pipeline is spared: the same each day."""
    if day == 0:
        lines.insert(40, lines[40][:50])  # the connection broke off
    if day == 1:
        lines.insert(20, '{"customer":{"name":"?"},"product":"tea","quantity":1,"price":"4.50","updated":"2026-03-03T08:20:00Z"}')
        lines.insert(30, '{"id":"A-2900","customer":{"name":"Ada Byron"},"product":"tea","quantity":2,"price":"a gift","updated":"2026-03-03T08:30:00Z"}')
    if day == 2:
        lines.insert(10, '{"id":"A-3900","customer":{"name":"Tony Hoare"},"product":"honey","quantity":-2,"price":"6.20","updated":"2026-03-04T08:10:00Z"}')
    return lines


def table(seed):
    """Returns the second shop's orders: all values of a CSV file are texts."""
    draw = random.Random(f"{seed}/table")
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["id", "name", "country", "product", "quantity", "price", "updated", "cancelled"])
    for number in range(300):
        made = order(draw, f"B-{number:04}", FIRST_DAY + datetime.timedelta(minutes=2 * number))
        customer = made["customer"]
        rows.writerow(
            [made["id"], customer["name"], customer["country"], made["product"], made["quantity"], made["price"]]
            + [made["updated"], "true" if draw.random() < 0.03 else ""]
        )
    return text.getvalue().replace("B-0150,", "B-0150,one too many,")


def main():
    seed, days, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    folder.mkdir(parents=True, exist_ok=True)
    arriving = sorted((message for day in range(days) for message in messages(seed, day)), key=lambda sent: sent[0])
    for day in range(days):
        date = (FIRST_DAY + datetime.timedelta(days=day)).date()
        of_day = [json.dumps(message, separators=(",", ":")) for time, message in arriving if time.date() == date]
        (folder / f"{date}.jsonl").write_text("".join(f"{line}\n" for line in broken(day, of_day)))
    with gzip.GzipFile(folder / "shop-b.csv.gz", "wb", mtime=0) as file:
        file.write(table(seed).encode())


main()
