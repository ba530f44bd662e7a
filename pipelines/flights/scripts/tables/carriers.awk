# Gathers the carriers' lines, writes out their names and leaves out those with fewer than min_flights flights.
# The first file is airlines.csv; what it prints is to be sorted by the share of late flights, which comes first.

BEGIN { FS = OFS = "," }

FILENAME == ARGV[1] { name[$1] = $2; next }

$2 >= min_flights { print sprintf("%.4f", $3 / $2), $1, name[$1], $2, $3, $4, $5, $6, $7, $8 }
