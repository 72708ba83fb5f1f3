#!/bin/sh
# An echo node of few words. It takes messages apart by text alone, so it relies on their order of
# fields and on texts without quotes.
while IFS= read -r line; do
    src=${line#*'"src":"'} src=${src%%'"'*}
    dest=${line#*'"dest":"'} dest=${dest%%'"'*}
    id=${line#*'"msg_id":'} id=${id%%[!0-9]*}
    case $line in
        *'"type":"init"'*) body='"type":"init_ok"' ;;
        *) echo=${line#*'"echo":"'} body="\"type\":\"echo_ok\",\"echo\":\"${echo%%'"'*}\"" ;;
    esac
    printf '{"src":"%s","dest":"%s","body":{%s,"in_reply_to":%s}}\n' "$dest" "$src" "$body" "$id"
done
