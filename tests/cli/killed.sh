# A sweep killed at 50 random moments: no finished point is lost or written again, and in the end it is the sweep that was never killed.
# Every other time only the first process is killed; its tasks must end with it.
. "$(dirname "$0")/common.sh"
[ -r $data/train-images-idx3-ubyte.gz ] || skip "no dataset-fashion-mnist"
command -v setsid >/dev/null || skip "no setsid"
RANDOM=20261123

sweep=(explore default --weights 1,2,4,ternary --sparsity 0,0.5 --geometry 4x8x8x2,8x8x8x2 --count 60 --calib-count 16 --method rtn --no-area --memory fit,extern=0 --jobs 2)
snapshot() { (cd "$1/points" 2>/dev/null && stat -c '%n %i %y %s' -- *.json 2>/dev/null | sort); }
# Processes with this sweep's folder on their command line.
alive() { printf '%s' "$PWD/$1" >pattern; grep -l -a -s -F -f pattern /proc/[0-9]*/cmdline | wc -l; }

start=$(date +%s%N)
ok "${sweep[@]}" -o whole --json
length=$((($(date +%s%N) - start) / 1000000))
[ "$(json made)" = 16 ] || fail "the whole sweep made $(json made) points"

kills=0 round=0 resumed=0
while [ $kills -lt 50 ] && [ $round -lt 60 ] && [ $failures -eq 0 ]; do
    round=$((round + 1))
    folder=part$round
    : >before
    for try in $(seq 40); do
        setsid "$heddle" "${sweep[@]}" -o "$PWD/$folder" >stdout 2>stderr </dev/null &
        leader=$!
        # Within the time that the sweep takes; the further it is, the less is left to be killed in.
        sleep "$(awk "BEGIN{printf \"%.3f\", ($RANDOM / 32768) * $length / 1000 * 0.45}")"
        if kill -0 $leader 2>/dev/null && [ $kills -lt 50 ]; then
            if [ $((kills % 2)) -eq 0 ]; then kill -9 -- -$leader; else kill -9 $leader; fi 2>/dev/null
            wait $leader 2>/dev/null
            kills=$((kills + 1))
            for wait in $(seq 400); do [ "$(alive $folder)" -eq 0 ] && break; sleep 0.05; done
            [ "$(alive $folder)" -eq 0 ] || fail "kill $kills: $(alive $folder) processes live on"
        else
            wait $leader || fail "the sweep that went on: $(cat stderr)"
            done=1
        fi
        snapshot $folder >after
        # Every finished point is still the same file.
        [ -z "$(comm -23 before after)" ] || fail "kill $kills: a finished point was lost or written again: $(comm -23 before after | head -n 1)"
        [ -s before ] && [ "${done:-0}" = 0 ] && resumed=$((resumed + 1))
        mv after before
        [ "${done:-0}" = 1 ] && break
    done
    [ "${done:-0}" = 1 ] || { "$heddle" "${sweep[@]}" -o "$PWD/$folder" >stdout 2>stderr || fail "the last start: $(cat stderr)"; }
    done=0
    snapshot $folder >after
    [ -z "$(comm -23 before after)" ] || fail "the last start wrote a finished point again"
    for f in whole/points/*.json; do cmp -s "$f" "$folder/points/${f##*/}" || fail "$folder: ${f##*/} differs from the sweep that was not killed"; done
    [ "$(ls $folder/points/*.json | wc -l)" = 16 ] || fail "$folder has $(ls $folder/points/*.json | wc -l) points"
    rm -r $folder
done
[ $kills -eq 50 ] || fail "only $kills kills"
[ $resumed -ge 10 ] || fail "only $resumed kills after a first point"
finish
