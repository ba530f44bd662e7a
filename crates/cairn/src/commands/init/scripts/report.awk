# Writes the ranking as a table with bars.
BEGIN {
  FS = ","
  gsub("-", " ", title)
  print title
  print ""
}
NR == 1 { most = $3 }
{
  bar = ""
  for (i = 1; i <= 30 * $3 / most; i++) bar = bar "#"
  printf "%-10s %5d cups %8.2f  %s\n", $1, $2, $3, bar
}
