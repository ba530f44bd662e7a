# A map without a map: every airport of the table is a faint dot, and together they draw the country.
# The projection is Albers' equal-area conic, with Alaska (smaller) and Hawaii set below, as in D3's geoAlbersUsa.

BEGIN {
    FS = ","
    PI = 3.141592653589793
    scale = 930; left = 344; top = 288
    conic("48", 96, 0, 38.5, 29.5, 45.5, scale, left, top)
    conic("AK", 154, 2, 58.5, 55, 65, 0.35 * scale, left - 0.307 * scale, top + 0.201 * scale)
    conic("HI", 157, 3, 19.9, 8, 18, scale, left - 0.205 * scale, top + 0.212 * scale)
}

# Prepares the cone `name`: central meridian (degrees west), centre, standard parallels, scale, and where the centre is drawn.
function conic(name, west, centre_lon, centre_lat, south, north, size, x, y,   s0) {
    s0 = sine(south * PI / 180)
    cone_n[name] = (s0 + sine(north * PI / 180)) / 2
    cone_c[name] = 1 + s0 * (2 * cone_n[name] - s0)
    cone_west[name] = west
    cone_scale[name] = size
    cone_x[name] = 0
    cone_y[name] = 0
    project(name, centre_lat, -west - centre_lon)
    cone_x[name] = x - px
    cone_y[name] = y - py
}

# Sets px and py.
function project(name, lat, lon,   rho, theta) {
    rho = root(cone_c[name] - 2 * cone_n[name] * sine(lat * PI / 180)) / cone_n[name] * cone_scale[name]
    theta = cone_n[name] * (lon + cone_west[name]) * PI / 180
    px = cone_x[name] + rho * sine(theta)
    py = cone_y[name] + rho * sine(theta + PI / 2)
}

# The cone that draws a place; nothing for a place that is off the picture.
function region(lat, lon) {
    if (lat > 24 && lat < 50 && lon > -126 && lon < -66) return "48"
    if (lat > 51 && lat < 72 && lon > -172 && lon < -129) return "AK"
    if (lat > 18 && lat < 23 && lon > -161 && lon < -154) return "HI"
    return ""
}

FNR == 1 { next }

$3 == "" {
    if ($5 > 0) unplaced = unplaced (unplaced == "" ? "" : ", ") $1
    next
}

{
    cone = region($3, $4)
    if (cone == "") next
    project(cone, $3, $4)
    if ($1 == "JFK") { home_x = px; home_y = py }
    if ($5 > 0) {
        n++
        code[n] = $1; name[n] = $2; flights[n] = $5; count[n] = $6; x[n] = px; y[n] = py; where[n] = cone
        if ($5 > most) most = $5
    } else dots = dots "M" at(px) " " at(py) "h0"
}

END {
    height = 616
    picture(height, "Where the flights go", \
        "Size: flights of " year ". Colour: the share that arrived " late " minutes late or more", \
        "Size: flights. Colour: share " late " min late or more")

    printf "<path class=\"dots\" d=\"%s\"/>\n", dots

    # The busiest last, so that they are on top: a selection sort, for awk has none.
    for (i = 1; i <= n; i++) order[i] = i
    for (i = 1; i <= n; i++)
        for (j = i + 1; j <= n; j++)
            if (flights[order[j]] < flights[order[i]] || (flights[order[j]] == flights[order[i]] && code[order[j]] < code[order[i]])) {
                swap = order[i]; order[i] = order[j]; order[j] = swap
            }

    for (i = 1; i <= n; i++) {
        k = order[i]
        if (where[k] != "48") continue
        dx = x[k] - home_x; dy = y[k] - home_y
        bend = dx > 0 ? -0.16 : 0.16
        printf "<path class=\"way s%d\" stroke-width=\"%s\" d=\"M%s %sQ%s %s %s %s\"/>\n", \
            shade(count[k] / flights[k]), at(0.7 + 3.2 * root(flights[k] / most)), at(home_x), at(home_y), \
            at(home_x + dx / 2 - bend * dy), at(home_y + dy / 2 + bend * dx), at(x[k]), at(y[k])
    }
    for (i = 1; i <= n; i++) {
        k = order[i]
        printf "<circle class=\"stop q%d\" cx=\"%s\" cy=\"%s\" r=\"%s\"><title>%s</title></circle>\n", \
            shade(count[k] / flights[k]), at(x[k]), at(y[k]), at(size_of(k)), \
            esc(name[k] " (" code[k] "): " commas(flights[k]) " flights, " percent(count[k], flights[k]) "% late")
    }
    printf "<circle class=\"home\" cx=\"%s\" cy=\"%s\" r=\"6\"/>\n", at(home_x), at(home_y)
    taken = 0
    claim(home_x - 8, home_y - 8, 80, 18)
    text(home_x + 11, home_y + 5, "strong halo wide", "New York")
    text(home_x + 11, home_y + 5, "strong halo narrow", "NYC")

    # Labels for the busiest, where there is room.
    for (i = n; i >= 1 && labels < 22; i--) {
        k = order[i]
        lx = x[k] + size_of(k) + 3
        if (!free(lx, y[k] - 8, 30, 16)) continue
        claim(lx, y[k] - 8, 30, 16)
        labels++
        text(lx, y[k] + 4, "small code halo" (labels > 7 ? " wide" : ""), code[k])
    }

    text(60, 512, "small", "Alaska")
    text(186, 512, "small", "Hawaii")
    legend(height)
    source(height, "US Bureau of Transportation Statistics; OpenFlights")
}

function size_of(k) { return 2 + 8 * root(flights[k] / most) }

function claim(x0, y0, width, tall) {
    taken++
    box_left[taken] = x0; box_top[taken] = y0; box_width[taken] = width; box_tall[taken] = tall
}

function free(x0, y0, width, tall,   i) {
    for (i = 1; i <= taken; i++)
        if (x0 < box_left[i] + box_width[i] && box_left[i] < x0 + width && y0 < box_top[i] + box_tall[i] && box_top[i] < y0 + tall)
            return 0
    return 1
}
