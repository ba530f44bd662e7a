# Counts flights and late flights by destination, as DEST,flights,late, to be sorted and joined with the airports.

BEGIN { FS = OFS = "," }

{
    flights[$6]++
    if ($8 >= late) count[$6]++
}

END { for (dest in flights) print dest, flights[dest], count[dest] + 0 }
