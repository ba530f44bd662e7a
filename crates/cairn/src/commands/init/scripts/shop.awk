# Adds up the cups and the takings of one shop.
BEGIN { FS = "," }
$2 == shop { cups += $4; takings += $4 * $5 }
END { printf "%s,%d,%.2f\n", shop, cups, takings }
