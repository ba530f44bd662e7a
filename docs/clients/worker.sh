#!/bin/sh
# A worker of a records stage in plain sh: nothing is to be installed. Copy it and change what stands in `case`.
#
# cairn writes a line {"key":K,"attempt":N,"record":{...}} for each record, and waits for one line with the same key. No
# JSON is read here: the three parts are cut out of the text, which always has this form. Where jq is installed, this is a
# whole worker that also reads fields:
#
#   jq -c --unbuffered '{key} + if .record.email then {record: .record} else {error: "no email", retry: false} end'
#
# A filter must not hold back its answers: `--unbuffered` for jq, `-u` for sed; mawk also holds back what it reads. A jq
# before 1.7 rounds integers beyond 2^53, and a key that comes back rounded is none that was sent.
while IFS= read -r line; do
    line=${line#'{"key":'}
    key=${line%%',"attempt":'*}
    record=${line#*',"record":'}
    record=${record%'}'}
    case $record in
        *'"test":true'*) printf '{"key":%s,"drop":true}\n' "$key" ;;
        *'"email":"'*) printf '{"key":%s,"record":%s}\n' "$key" "$record" ;;
        *) printf '{"key":%s,"error":"no email","retry":false}\n' "$key" ;;
    esac
done
