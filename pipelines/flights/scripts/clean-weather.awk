# Gives each hour of weather a key that flights can be joined on: ORIGIN-MMDD-HH,visibility,wind,rain.
#
# Left out are hours without a wind speed, winds no aeroplane was out in (Newark once reports 1,048 miles an hour) and the
# second reading of the hour that comes twice when summer time ends.

BEGIN { FS = OFS = "," }

NR == 1 || $2 != year { next }
$6 == "NA" || $6 > 120 { next }

{
    key = sprintf("%s-%02d%02d-%02d", $1, $3, $4, $5)
    if (!(key in seen)) print key, $8, $6, $7
    seen[key]
}
