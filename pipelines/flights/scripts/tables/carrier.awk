# One line about one carrier, from its arrival delays in rising order:
# carrier,flights,late,p10,p25,median,p75,p90 (the delay that a tenth, a quarter, ... of its flights stay below).

BEGIN { OFS = "," }

{
    delay[NR] = $1
    if ($1 >= late) count++
}

function quantile(share,   rank) {
    rank = int(share * NR)
    if (rank < share * NR) rank++
    return delay[rank < 1 ? 1 : rank]
}

END {
    if (NR == 0) {
        print "carrier.awk: no flights of carrier " carrier | "cat 1>&2"
        exit 1
    }
    print carrier, NR, count + 0, quantile(0.1), quantile(0.25), quantile(0.5), quantile(0.75), quantile(0.9)
}
