# Counts flights and late flights by month and by the hour they were to leave.

BEGIN { FS = OFS = "," }

{
    flights[$1, $3]++
    if ($8 >= late) count[$1, $3]++
}

END {
    print "month,hour,flights,late"
    for (month = 1; month <= 12; month++)
        for (hour = 0; hour <= 23; hour++)
            if ((month, hour) in flights)
                print month, hour, flights[month, hour], count[month, hour] + 0
}
