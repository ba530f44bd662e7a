# Three small pictures side by side: the share of late flights by visibility, wind and rain.

BEGIN { FS = "," }

FNR == 1 { next }

{
    bins[$1]++
    gsub(/-/, "–", $2)
    name[$1, bins[$1]] = $2
    flights[$1, bins[$1]] = $3
    count[$1, bins[$1]] = $4
    if ($3 > 0 && $4 / $3 > most) most = $4 / $3
    if ($1 == "wind") { all_flights += $3; all_count += $4 }
}

END {
    tallest = 190; top = 116; bottom = top + tallest
    height = bottom + 100
    scale = tallest / (int(most * 10) / 10 + 0.1)
    overall = all_count / all_flights

    picture(height, "Rain and haze weigh more than wind", \
        "Share of flights that arrived " late " minutes late or more, by the weather where they left, " year, \
        "Share of flights " late " min late or more, by weather")

    panel(1, "visibility", "Visibility", "miles")
    panel(2, "wind", "Wind", "miles an hour")
    panel(3, "rain", "Rain", "inches an hour")
    source(height, "Sources: BTS, ASOS weather stations. Dashed: all flights, " percent(overall, 1) "%")
}

function panel(place, kind, title, unit,   left, wide, i, share, x, y) {
    left = (place - 1) * 248
    wide = 224 / bins[kind]
    text(left, top - 18, "strong", title)
    line(left, bottom - overall * scale, left + 222, bottom - overall * scale, "axis dashed")
    for (i = 1; i <= bins[kind]; i++) {
        x = left + (i - 1) * wide
        if (flights[kind, i] == 0) continue
        share = count[kind, i] / flights[kind, i]
        y = bottom - share * scale
        box(x + 1, y, wide - 4, share * scale, 3, "q" shade(share), \
            title " " name[kind, i] ": " percent(share, 1) "% of " commas(flights[kind, i]) " flights late")
        text(x + wide / 2 - 1, y - 7, "small number middle halo wide", percent(share, 1))
        if (i == 1 || i == bins[kind]) text(x + wide / 2 - 1, y - 7, "small number middle halo narrow", percent(share, 1))
        text(x + wide / 2 - 1, bottom + 18, "tiny middle wide", name[kind, i])
    }
    text(left, bottom + 22, "small narrow", name[kind, 1])
    text(left + 222, bottom + 22, "small end narrow", name[kind, bins[kind]])
    line(left, bottom + 0.5, left + 222, bottom + 0.5, "axis")
    text(left + 111, bottom + 42, "small middle", unit)
}
