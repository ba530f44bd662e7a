# Draws "COUNT WORD" lines as bars. The first file holds every word that was counted: it gives the totals.
FILENAME == ARGV[1] {
    total += $1
    different++
    next
}
FNR == 1 {
    longest = $1
    printf "%d words, %d different. The commonest, without the small words of grammar:\n\n", total, different
}
{
    bar = ""
    for (i = 0; i < 40 * $1 / longest; i++) bar = bar "█"
    printf "%12s  %s %d\n", $2, bar, $1
}
