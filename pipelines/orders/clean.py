"""Makes clean orders of messy ones: a worker of the stage `load`."""

import cairn_worker


def clean(order):
    customer = order.get("customer") or {"name": order.get("name", ""), "country": order.get("country", "")}
    quantity = int(order["quantity"])
    if quantity < 1:
        raise ValueError(f"quantity {quantity}: nobody can order that")
    price = round(float(str(order["price"]).rstrip(" €").replace(",", ".")) * 100)
    return {
        "id": order["id"],
        "customer": " ".join(customer["name"].split()).title(),
        "country": customer.get("country", "").upper(),
        "product": order["product"].lower(),
        "quantity": quantity,
        "price_cents": price,
        "total_cents": quantity * price,
        "updated": order["updated"],
    }


cairn_worker.run(clean)
