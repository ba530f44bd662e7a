# Keeps the flights that can be late: drops those that never left and those without an arrival time.
#
#   awk -v year=2013 -v dropped=dropped.csv -f clean.awk < flights.csv > kept.csv
#
# Writes month,day,hour,carrier,origin,dest,dep_delay,arr_delay without a header, so that sort and join can read it.
# What is dropped is counted in `dropped` as month,day,reason,flights: nothing goes missing without a number.

BEGIN {
    FS = OFS = ","
    expected = "year,month,day,dep_delay,arr_delay,carrier,origin,dest,hour"
}

NR == 1 {
    if ($0 != expected) {
        print "clean.awk: the columns are " $0 ", not " expected | "cat 1>&2"
        wrong = 1
        exit 1
    }
    next
}

$1 != year  { drop("other year"); next }
$4 == "NA"  { drop("cancelled"); next }
$5 == "NA"  { drop("no arrival"); next }

{ print $2, $3, $9, $6, $7, $8, $4, $5 }

function drop(reason) { count[$2, $3, reason]++ }

END {
    if (wrong) exit 1
    printf "" > dropped
    reasons = split("other year,cancelled,no arrival", reason, ",")
    # In order of date and reason: the order of `for (key in count)` differs from one awk to the next.
    for (month = 1; month <= 12; month++)
        for (day = 1; day <= 31; day++)
            for (i = 1; i <= reasons; i++)
                if ((month, day, reason[i]) in count)
                    print month, day, reason[i], count[month, day, reason[i]] > dropped
}
