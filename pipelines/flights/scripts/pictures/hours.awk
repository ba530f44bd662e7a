# A carpet of months and hours: the share of flights that came late.

BEGIN { FS = "," }

FNR == 1 { next }

{
    flights[$1, $2] = $3
    count[$1, $2] = $4
    month_flights[$1] += $3
    month_count[$1] += $4
    hour_flights[$2] += $3
    hour_count[$2] += $4
}

END {
    few = 30                          # a cell of fewer flights says nothing
    first = 24
    for (hour = 0; hour <= 23; hour++)
        if (hour_flights[hour] >= 12 * few) {
            if (hour < first) first = hour
            last = hour
        }
    left = 62; top = 96; wide = 44; tall = 23; side = left + 12 * wide + 14
    bottom = top + (last - first + 1) * tall
    height = bottom + 118

    picture(height, "The later the hour, the later the plane", \
        "Share of flights that arrived " late " minutes late or more, by the hour they were to leave, " year, \
        "Share of flights " late " min late or more, by hour")

    for (month = 1; month <= 12; month++) {
        x = left + (month - 1) * wide
        text(x + wide / 2 - 1, top - 10, "small middle wide", month_name(month))
        text(x + wide / 2 - 1, top - 10, "small middle narrow", substr(month_name(month), 1, 1))
    }
    text(side, top - 10, "small", "Year")

    for (hour = first; hour <= last; hour++) {
        y = top + (hour - first) * tall
        text(left - 10, y + tall / 2 + 4, "small number end" (hour % 3 ? " wide" : ""), clock(hour))
        for (month = 1; month <= 12; month++) {
            if (flights[month, hour] < few) continue
            share = count[month, hour] / flights[month, hour]
            level = shade(share)
            x = left + (month - 1) * wide
            box(x, y, wide - 2, tall - 2, 3, "q" level, \
                month_name(month) ", " clock(hour) ": " percent(share, 1) "% of " commas(flights[month, hour]) " flights late")
            text(x + wide / 2 - 1, y + tall / 2 + 3, "tiny middle wide " (level < 4 ? "on-low" : "on-high"), percent(share, 1))
        }
        share = hour_count[hour] / hour_flights[hour]
        box(side, y + 4, 70 * share / 0.5, tall - 10, 2, "q" shade(share), "")
        text(side + 70 * share / 0.5 + 5, y + tall / 2 + 4, "small number wide", percent(share, 1))
    }

    y = bottom + 6
    text(left - 10, y + tall / 2 + 4, "small end", "Day")
    for (month = 1; month <= 12; month++) {
        share = month_flights[month] ? month_count[month] / month_flights[month] : 0
        level = shade(share)
        x = left + (month - 1) * wide
        box(x, y, wide - 2, tall - 2, 3, "q" level, "")
        text(x + wide / 2 - 1, y + tall / 2 + 3, "tiny middle wide " (level < 4 ? "on-low" : "on-high"), percent(share, 1))
    }
    legend(height)
    source(height, "US Bureau of Transportation Statistics")
}
