# Every day of the year as a tile: the share of planned flights that came late or not at all.

BEGIN { FS = "," }

FNR == 1 { next }

{
    planned[$1, $2] = $3
    trouble[$1, $2] = $4 + $5 + $6
    cancelled[$1, $2] = $5
}

END {
    step = 22; wide = 7 * step + 34; tall = 6 * step + 44; top = 112
    height = top + 3 * tall + 56

    picture(height, "Every day of " year, \
        "Share of planned flights that came " late " minutes late or more, or not at all", \
        "Flights " late " min late or more, or not at all")

    for (month = 1; month <= 12; month++) {
        left = (month - 1) % 4 * (wide - 2)
        y0 = top + int((month - 1) / 4) * tall
        text(left, y0 - 12, "strong", month_name(month))
        offset = weekday(year, month, 1)
        for (day = 1; day <= days_in(year, month); day++) {
            place = offset + day - 1
            x = left + place % 7 * step
            y = y0 + int(place / 7) * step
            if (!((month, day) in planned)) { box(x, y, step - 3, step - 3, 4, "q0", ""); continue }
            share = trouble[month, day] / planned[month, day]
            level = shade(share)
            tip = weekday_name(place % 7) " " day " " month_name(month) ": " percent(share, 1) "% of " \
                commas(planned[month, day]) " flights late or not at all; " commas(cancelled[month, day]) " cancelled"
            box(x, y, step - 3, step - 3, 4, "q" level, tip)
            text(x + (step - 3) / 2, y + 13.5, "tiny middle wide " (level < 4 ? "on-low" : "on-high"), day)
        }
    }
    legend(height)
    source(height, "US Bureau of Transportation Statistics")
}
