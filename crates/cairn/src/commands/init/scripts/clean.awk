# Keeps the lines that have a price and an amount.
BEGIN { FS = "," }
NR > 1 && $4 != "" && $5 != "" { print }
