# One row for each carrier: from the flight a tenth of which are earlier to the one a tenth of which are later.

BEGIN { FS = "," }

FNR == 1 { next }

{
    rows++
    share[rows] = $1; name[rows] = short($3); flights[rows] = $4; count[rows] = $5
    p10[rows] = $6; p25[rows] = $7; median[rows] = $8; p75[rows] = $9; p90[rows] = $10
    if (rows == 1 || $6 < low) low = $6
    if (rows == 1 || $10 > high) high = $10
}

function x_of(minutes) { return left + (minutes - low) * (right - left) / (high - low) }

END {
    left = 168; right = 586; top = 108; tall = 31
    low = 20 * int(low / 20 - 1); high = 20 * int(high / 20 + 1)
    bottom = top + rows * tall
    height = bottom + 82

    picture(height, "Most flights come early, some very late", \
        "Minutes after plan, " year ". Bar: the middle half of flights; line: four in five; dot: the median", \
        "Minutes late: half of all flights (bar), 4 in 5 (line)")

    text(720, top - 14, "small end wide", "late")
    text(720, top - 14, "small end narrow", "late")
    for (tick = low; tick <= high; tick += 20) {
        line(x_of(tick), top - 4, x_of(tick), bottom, tick ? "grid" : "axis")
        text(x_of(tick), bottom + 20, "small number middle" (tick % 40 ? " wide" : ""), signed(tick))
    }
    text(x_of(0), top - 14, "small middle", "on time")

    for (i = 1; i <= rows; i++) {
        y = top + (i - 0.5) * tall
        tip = name[i] ": median " signed(median[i]) " min; one in ten " p90[i] " min late or more; " commas(flights[i]) " flights"
        text(left - 14, y + 5, "end strong", name[i])
        box(x_of(p10[i]), y - 1.5, x_of(p90[i]) - x_of(p10[i]), 3, 1.5, "q3", tip)
        box(x_of(p25[i]), y - 6, x_of(p75[i]) - x_of(p25[i]), 12, 3, "cool", tip)
        printf "<circle class=\"paper\" cx=\"%s\" cy=\"%s\" r=\"3.5\"/>\n", at(x_of(median[i])), at(y)
        text(652, y + 5, "small number end wide", commas(flights[i]))
        text(720, y + 5, "number end warm-text", percent(share[i], 1) "%")
    }
    text(652, top - 14, "small end wide", "flights")
    text((left + right) / 2, bottom + 42, "small middle wide", "minutes; below 0: early")
    source(height, "US Bureau of Transportation Statistics. Late: " late " minutes or more.")
}
