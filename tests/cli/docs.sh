# README and docs against what there is: links and their headings, pictures, paths of files, every heddle command with its options, names of tests, figures of benches
# in docs/numbers.md, the top level's entries. Nothing is run but --help and ctest -N.
. "$(dirname "$0")/common.sh"
build=$3
source=$(cd "$(dirname "$0")/../.." && pwd)
pages=(README.md)
for page in "$source"/docs/*.md; do pages+=("docs/${page##*/}"); done

# A heading's anchor as GitHub makes it.
anchors() { sed -n 's/^##* //p' "$1" | tr 'A-Z' 'a-z' | sed 's/[^a-z0-9 _-]//g; s/ /-/g'; }

# Code of a page, one piece a line: lines of blocks, with those that a backslash continues, and spans between backticks, which may run over a line's end.
code() {
    awk '/^    /{ line = substr($0, 5); while (line ~ /\\$/ && (getline next_line) > 0) { sub(/\\$/, "", line); sub(/^ +/, " ", next_line); line = line next_line } print line }' "$1"
    awk 'BEGIN { RS = "" } { gsub(/\n    [^\n]*/, ""); gsub(/\n/, " "); n = split($0, piece, "`"); for (i = 2; i <= n; i += 2) print piece[i] }' "$1"
}

ok help
commands=$(sed -n 's/^  \([a-z]*\) .*/\1/p' stdout)
for c in $commands; do "$heddle" "$c" --help 2>/dev/null | sed -n 's/^  \(-[^ ]*\) .*/\1/p' >"options.$c"; done
ctest --test-dir "$build" -N >tests 2>/dev/null || fail "ctest -N"
ctest --test-dir "$build" --print-labels >labels 2>/dev/null

for page in "${pages[@]}"; do
    here=$(dirname "$source/$page")
    while read -r target; do
        file=${target%%#*}
        [ -z "$file" ] && file=$(basename "$page")
        [ -e "$here/$file" ] || { fail "$page: link to $target: no such file"; continue; }
        case $target in *'#'*) anchors "$here/$file" | grep -q -x -e "${target#*#}" || fail "$page: link to $target: no such heading" ;; esac
    done < <(grep -o ']([^)]*)' "$source/$page" | sed 's/^](//; s/)$//' | grep -v '^https*:')

    code "$source/$page" >code
    while read -r path; do
        case $path in *[\*\{\<]* | *HASH* | *NAME* | *...*) continue ;; esac
        case ${path##*/} in *.*) ;; [A-Z][A-Z]*) continue ;; esac # what stands for a name
        [ -e "$source/$path" ] || [ -e "$source/${path%.}" ] || compgen -G "$source/$path*" >/dev/null || fail "$page: $path: no such file"
    done < <(grep -o -E '(^|[ `(])(sw|hw|sim|compiler|drivers|boards|tests|docs)/[A-Za-z0-9_./*{<-]+' code | sed 's/^[ `(]*//; s/[.,;:)]*$//' | sort -u)

    # "heddle COMMAND ...": up to a comment, a pipe or the next command; what is quoted is a value.
    while read -r line; do
        set -f; words=($line); set +f
        c=${words[1]:-}
        c=${c%%[.,;:]*}
        grep -q -x -e "$c" <<<"$commands" || { fail "$page: 'heddle $c': no such command"; continue; }
        for word in "${words[@]:2}"; do
            case $word in -o | --[a-z]*) ;; *) continue ;; esac
            word=${word%%=*}
            word=${word%%[]),;:.|]*}
            grep -q -x -e "$word" "options.$c" || fail "$page: 'heddle $c' has no option $word"
        done
    done < <(sed 's/ # .*//; s/  #.*//' code | grep -o -E '(^|[$ /(|])heddle [a-z][^|`]*' | sed 's/^[^h]*//; s/"[^"]*"//g; s/'"'[^']*'"'//g; s/ heddle .*//; s/ && .*//' | sort -u)

    while read -r name; do
        ctest --test-dir "$build" -N -R "$name" 2>/dev/null | grep -q '^Total Tests: 0$' && fail "$page: ctest -R $name: no such test"
    done < <(grep -o -E "ctest [^|]*-R ('[^']*'|[^ )]+)" code | sed "s/.*-R //; s/'//g" | grep -v -x -e NAME -e '.*NAME.*' | sort -u)
    while read -r name; do
        grep -q -x -e "  $name" labels || fail "$page: ctest -L $name: no such label"
    done < <(grep -o -E 'ctest [^|]*-L [a-z0-9]+' code | sed 's/.*-L //' | sort -u)
    while read -r name; do
        [ -x "$build/tests/$name" ] || fail "$page: build/tests/$name: no such program"
    done < <(grep -o -E 'build/tests/test_[a-z0-9_]+' code | sed 's/.*tests.//' | sort -u)

    # Constants and options of the code.
    while read -r name; do
        grep -rqw -e "$name" "$source/sw" "$source/compiler" "$source/drivers" "$source/hw" "$source/sim" "$source/boards" "$source/CMakeLists.txt" "$source/tests" --include='*.[chv]' --include='*.def' --include=CMakeLists.txt \
            || fail "$page: $name is no name of the code"
    done < <(grep -o -w -E 'HD_[A-Z][A-Z0-9_]+' code | grep -v -E '_$' | sort -u)

    # Figures by the names that benches give them.
    while read -r figure; do
        grep -q -E "Test +#[0-9]+: $figure\$" tests && continue
        grep -q -F -e "$figure" "$source/docs/numbers.md" || fail "$page: figure $figure is not in docs/numbers.md"
    done < <(grep -o -x -E '(sim|array|decode|area|demo|compress|tune|gather|policy|models|usb|explore|resnet8|stories|fashion|block50)[._][a-z0-9_.*]+' code | grep -v -E '\.(c|h|v|sh|md|html|csv|bin|hdm)$' | sort -u)
done

# docs/numbers.md: a tag in each row of a table, and a commit that exists where there is a repository.
awk -F'|' '/^\|/ && !/^\| *-/ && !/^\|-/ && !/^\| figure/ { if ($0 !~ /measured|simulated|derived|placed/) print }' "$source/docs/numbers.md" >untagged
[ -s untagged ] && fail "docs/numbers.md: no tag in: $(head -n 1 untagged)"
if [ -e "$source/.git" ] && [ "$(git -C "$source" rev-parse --is-shallow-repository 2>/dev/null)" = false ]; then
    for commit in $(grep -o -E '\b[0-9a-f]{7}\b' "$source/docs/numbers.md" | grep '[a-f]' | sort -u); do
        git -C "$source" cat-file -e "$commit^{commit}" 2>/dev/null || fail "docs/numbers.md: no commit $commit"
    done
fi

# Nothing that a test or an editor left behind is committed at the top.
known=' .ci .clang-format .clang-tidy .gitignore CHANGELOG.md CMakeLists.txt LICENSE README.md boards bootstrap compiler docs drivers hw packages-optional.txt packages.txt sim sw tests '
if [ -e "$source/.git" ]; then
    for entry in $(git -C "$source" ls-files | sed 's,/.*,,' | sort -u); do
        case $known in *" $entry "*) ;; *) fail "$entry: committed, but no part of the project's top level" ;; esac
    done
fi
finish
