# What the pictures share. Every picture is 720 units wide; its colours and letters are those of chart.css.
#
#   awk -v css=chart.css -v year=2013 -v late=15 -f svg.awk -f pictures/hours.awk hours.csv > hours.svg

function picture(height, title, subtitle, narrow,   rule) {
    printf "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"picture\" viewBox=\"0 0 720 %d\"", height
    printf " role=\"img\" aria-label=\"%s\">\n", esc(title)
    print "<style>"
    while ((getline rule < css) > 0) print rule
    close(css)
    print "</style>"
    printf "<rect class=\"paper\" width=\"720\" height=\"%d\"/>\n", height
    text(0, 24, "title", title)
    text(0, 50, "subtitle" (narrow == "" ? "" : " wide"), subtitle)
    if (narrow != "") text(0, 54, "subtitle narrow", narrow)
}

# The source line at the foot, and the end of the picture.
function source(height, text_) {
    text(0, height - 8, "small", text_)
    print "</svg>"
}

function text(x, y, class, content) {
    printf "<text x=\"%s\" y=\"%s\" class=\"%s\">%s</text>\n", at(x), at(y), class, esc(content)
}

function line(x1, y1, x2, y2, class) {
    printf "<path class=\"%s\" d=\"M%s %sL%s %s\"/>\n", class, at(x1), at(y1), at(x2), at(y2)
}

# A rectangle with rounded corners; `tip` is shown under the pointer.
function box(x, y, width, height, radius, class, tip) {
    printf "<rect class=\"%s\" x=\"%s\" y=\"%s\"", class, at(x), at(y)
    printf " width=\"%s\" height=\"%s\" rx=\"%s\"", at(width), at(height), at(radius)
    if (tip == "") print "/>"
    else printf "><title>%s</title></rect>\n", esc(tip)
}

# A number as a coordinate: one decimal is a tenth of a unit, and 12.0 is 12.
function at(number,   shown) {
    shown = sprintf("%.1f", number)
    sub(/\.0$/, "", shown)
    return shown == "-0" ? "0" : shown
}

function esc(content) {
    gsub(/&/, "\\&amp;", content)
    gsub(/</, "\\&lt;", content)
    gsub(/>/, "\\&gt;", content)
    gsub(/"/, "\\&quot;", content)
    return content
}

# 336776 as 336,776.
function commas(number,   digits, shown) {
    digits = sprintf("%d", number)
    while (length(digits) > 3) {
        shown = "," substr(digits, length(digits) - 2) shown
        digits = substr(digits, 1, length(digits) - 3)
    }
    return digits shown
}

function percent(part, whole) { return sprintf("%.0f", whole ? 100 * part / whole : 0) }

# The shade of a share of late flights, 0 to 6: the same in every picture, so that they can be compared.
function shade(share,   i) {
    for (i = 6; i > 0 && share < shade_from(i); i--);
    return i
}

function shade_from(i,   from) {
    split("0.10 0.15 0.20 0.30 0.40 0.55", from, " ")
    return from[i]
}

# The key to the shades, above the source line.
function legend(height,   x, y, i, step) {
    x = 0; y = height - 72; step = 46
    for (i = 0; i <= 6; i++) box(x + i * step, y, step - 2, 9, 2, "q" i, "")
    for (i = 1; i <= 6; i++) text(x + i * step - 1, y + 25, "small middle wide", 100 * shade_from(i) (i == 6 ? "%" : ""))
    for (i = 1; i <= 6; i += 2) text(x + i * step - 1, y + 29, "small middle narrow", 100 * shade_from(i) "%")
}

# -3 with a true minus sign, 3 as +3.
function signed(number) {
    if (number > 0) return "+" number
    return number < 0 ? "−" (-number) : "0"
}

# Sine and square root by their series: not every awk is built with them, and no two libraries agree on the last digit.
function sine(x,   term, sum, i) {
    term = sum = x
    for (i = 1; i <= 12; i++) {
        term *= -x * x / (2 * i * (2 * i + 1))
        sum += term
    }
    return sum
}

function root(x,   guess, i) {
    guess = x > 1 ? x : 1
    for (i = 1; i <= 24; i++) guess = (guess + x / guess) / 2
    return guess
}

function month_name(month) { return substr("JanFebMarAprMayJunJulAugSepOctNovDec", 3 * month - 2, 3) }

# 0 as midnight, 13 as 1 pm.
function clock(hour) {
    if (hour % 12 == 0) return hour % 24 ? "noon" : "midnight"
    return hour % 12 (hour < 12 ? " am" : " pm")
}

# 0 for Monday to 6 for Sunday, by Zeller's rule.
function weekday(year, month, day) {
    if (month < 3) { month += 12; year-- }
    return (day + int(13 * (month + 1) / 5) + year + int(year / 4) - int(year / 100) + int(year / 400) + 5) % 7
}

function weekday_name(number) { return substr("MonTueWedThuFriSatSun", 3 * number + 1, 3) }

function days_in(year, month) {
    if (month == 2) return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0 ? 29 : 28
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31
}

# "ExpressJet Airlines Inc." as "ExpressJet".
function short(name,   kept) {
    kept = name
    sub(/ (Inc\.|Co\.|Corporation)$/, "", kept)
    name = kept
    sub(/ (Air Lines|Airlines|Airways|Air)$/, "", kept)
    return length(kept) > 2 ? kept : name
}
