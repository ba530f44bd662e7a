# Counts flights and late flights by the weather at the hour and airport they were to leave from.
# Reads the join of both: KEY,arr_delay,visibility,wind,rain (miles, miles an hour, inches an hour).

BEGIN {
    FS = OFS = ","
    kinds = split("visibility wind rain", kind, " ")
    # Each bin reaches from its number up to the next one.
    bins = split("0 1 3 6 8 10", visibility, " ")
    split("0 5 10 15 20 25", wind, " ")
    split("0 0.005 0.05 0.1 0.2 0.3", rain, " ")
    names["visibility"] = "0-1,1-3,3-6,6-8,8-10,10+"
    names["wind"] = "0-5,5-10,10-15,15-20,20-25,25+"
    names["rain"] = "none,0-.05,.05-.1,.1-.2,.2-.3,.3+"
}

{
    add("visibility", $3, visibility)
    add("wind", $4, wind)
    add("rain", $5, rain)
}

function add(which, value, from,   i) {
    for (i = bins; i > 1 && value < from[i]; i--);
    flights[which, i]++
    if ($2 >= late) count[which, i]++
}

END {
    print "kind,bin,flights,late"
    for (k = 1; k <= kinds; k++) {
        split(names[kind[k]], name, ",")
        for (i = 1; i <= bins; i++)
            print kind[k], name[i], flights[kind[k], i] + 0, count[kind[k], i] + 0
    }
}
