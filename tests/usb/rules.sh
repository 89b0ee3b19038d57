#!/bin/bash
# rules.sh HEDDLE SOURCE_DIR: the udev rules open each device that the program looks for, and no others, in a file that is read before the seat gets its devices.
set -eu
rules=("$2"/drivers/*-heddle.rules)
name=$(basename "${rules[0]}")
[ "${#rules[@]}" = 1 ] && [ "${name%%-*}" -lt 71 ] || { echo "FAIL: one file of rules with a number below 71 is needed; found ${rules[*]}"; exit 1; }
wanted=$(sed -n 's/.*looked for:.*/&/p' < <("$1" devices) | grep -o '[0-9a-f]\{4\}:[0-9a-f]\{4\}' | sort) || true
[ -n "$wanted" ] || { echo "skipped: a board is plugged in, so heddle devices does not tell what it looks for"; exit 77; }
found=$(sed -n 's/^SUBSYSTEM=="usb", ATTR{idVendor}=="\([0-9a-f]*\)", ATTR{idProduct}=="\([0-9a-f]*\)", TAG+="uaccess", GROUP="plugdev", MODE="0660"$/\1:\2/p' "${rules[0]}" | sort)
[ "$found" = "$wanted" ] || { echo "FAIL: rules for" $found "where the program looks for" $wanted; exit 1; }
[ "$(grep -vc '^#' "${rules[0]}")" = "$(echo "$wanted" | wc -l)" ] || { echo "FAIL: $name has lines that are no such rule"; exit 1; }
echo "$name opens" $wanted
