# Counts the flights of each day that were planned, late, cancelled and without an arrival.
# Reads what clean.awk dropped first, then what it kept.

BEGIN { FS = OFS = "," }

FILENAME == ARGV[1] {
    if ($3 == "cancelled") cancelled[$1, $2] = $4
    if ($3 == "no arrival") lost[$1, $2] = $4
    next
}

{
    flights[$1, $2]++
    if ($8 >= late) count[$1, $2]++
}

END {
    print "month,day,planned,late,cancelled,no_arrival"
    for (month = 1; month <= 12; month++)
        for (day = 1; day <= 31; day++) {
            key = month SUBSEP day
            planned = flights[key] + cancelled[key] + lost[key]
            if (planned) print month, day, planned, count[key] + 0, cancelled[key] + 0, lost[key] + 0
        }
}
