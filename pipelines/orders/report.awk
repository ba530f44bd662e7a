# What was sold of each product: orders, pieces, euros; the greatest turnover first.
BEGIN { FS = "," }
NR == 1 { for (i = 1; i <= NF; i++) column[$i] = i; next }
{
    product = $column["product"]
    orders[product]++
    pieces[product] += $column["quantity"]
    cents[product] += $column["total_cents"]
}
END {
    sorted = "sort -k4,4nr"
    for (product in orders)
        printf "%-10s %6d %7d %10.2f\n", product, orders[product], pieces[product], cents[product] / 100 | sorted
}
