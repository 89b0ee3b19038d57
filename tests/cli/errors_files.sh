# Golden errors of what commands are given: policies, files of the wrong kind or damaged, sweeps, networks for boards, tools and folders that are not there.
# Exact standard error, exit code 1, nothing on standard output, no file left.
. "$(dirname "$0")/common.sh"
export HEDDLE_CACHE=$work/cache

# u32 little-endian, for headers.
le32() { printf "\\$(printf %03o $(($1 & 255)))\\$(printf %03o $(($1 >> 8 & 255)))\\$(printf %03o $(($1 >> 16 & 255)))\\$(printf %03o $(($1 >> 24 & 255)))"; }

# Two images, one all of 3 and one of every value in turn.
{ printf '\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c'; head -c 784 /dev/zero | tr '\0' '\3'; for i in {0..783}; do printf "\\$(printf %03o $((i & 255)))"; done; } >two.idx
printf '\0\0\x08\x01\0\0\0\x02\x01\x02' >labels.idx
ok compress default --calib two.idx --weights 4 -o net.hdm
ok compile net.hdm --geometry 4x8x8x2 -o net.hdp

# Policies: what a layer may be asked for, on networks.
compress=(compress default --calib two.idx -o x.hdm)
policy() { printf '%s\n' "$2" >p.json; error "$1" "${compress[@]}" --policy p.json; }
policy "p.json: policy, base: float weights (16 bits) without sparsity; nothing would be compressed" '{"base": {"weights": 16}}'
policy "policy, base: float weights (16 bits) on a network; the array has 1 to 8 bits" '{"base": {"weights": 16, "sparsity": 0.5}}'
policy "p.json: policy, base: 3-bit weights on grid 'ternary'; allowed is ternary" '{"base": {"weights": 3, "grid": "ternary"}}'
policy "p.json: base: 'grid' is 'x'; must be 'auto', 'odd', 'even', 'ternary' or 'affine'" '{"base": {"grid": "x"}}'
policy "policy, base: zero points on a network; the array has shifts, allowed are grids odd, even and ternary, and 'group:N'" '{"base": {"grid": "affine"}}'
policy "policy, base: a float scale a group on a network; the array has shifts, allowed are grids odd, even and ternary, and 'group:N'" '{"base": {"granularity": "float-group:8"}}'
policy "policy, base: one scale for the layer with a method other than rtn; tensor goes with rtn, channel and group with all" '{"base": {"granularity": "tensor", "method": "gptq"}}'
policy "p.json: base: 'structure' is '5:4'; must be 'block', 'unstructured', 'channel' or 'N:M'" '{"base": {"structure": "5:4"}}'
policy "policy, base: single weights removed from a network; the array skips blocks, allowed are 'block', 'channel' and, to compare, 'N:M'" '{"base": {"structure": "unstructured", "sparsity": 0.5}}'
policy "policy, base: 'pv' trains language models; networks are tuned without it" '{"base": {"method": "gptq+pv"}}'
policy "policy, base: method 'rtn+table:7' on a network; the array's decoders have table:2, additive:8 and e8p:2, in groups of their own" '{"base": {"method": "table:7"}}'
policy "policy, base: method 'rtn+awq+table:2' on a network; a code goes alone or with gptq, for the layers that it does not fit" '{"base": {"method": "awq+table:2"}}'
policy "policy, base: method 'awq-stored' on a network; allowed solvers are rtn, gptq, sparsegpt, clip and iobs" '{"base": {"method": "awq-stored"}}'
policy "p.json: base: method 'residual': 'residual' goes with a factoring" '{"base": {"method": "residual"}}'
policy "p.json: base: method 'rtn:3': 'rtn' takes no number" '{"base": {"method": "rtn:3"}}'
policy "p.json: base: method 'clip+inorder': 'inorder' goes with gptq and gptq0" '{"base": {"method": "clip+inorder"}}'
policy "p.json: base: method 'svd:2': 'svd' takes a number from 0.001 to 1" '{"base": {"method": "svd:2"}}'
policy "p.json: base: 'code_group' is 9; must be 1 to 8" '{"base": {"code_group": 9}}'
policy "p.json: layer 'conv1': 'weights' is 'x'; must be 1 to 8, 'ternary' or 16 (sparse language models)" '{"layers": {"conv1": {"weights": "x"}}}'
policy "policy, layer 'nolayer': no layer with weights has this name; there are conv1, conv2, conv3, fc1, fc2" '{"layers": {"nolayer": {"weights": 4}}}'
policy "layer 'fc2': its channels are those of the network's output, which stays as it is" '{"layers": {"fc2": {"structure": "channel", "sparsity": 0.3}}}'
policy "layer 'conv1': no scales can be folded before it: it reads the network's input, which stays as it is" '{"layers": {"conv1": {"method": "smooth"}}}'
error "policy, base: ternary weights on grid 'even'; allowed are 2 to 8 bits" "${compress[@]}" --weights ternary --grid even
error "policy, base: ternary weights on grid 'odd'; allowed are 1 to 8 bits" "${compress[@]}" --weights ternary --grid odd
error "policy, base: 1-bit weights on grid 'even'; allowed are 2 to 8 bits" "${compress[@]}" --weights 1 --grid even
rm p.json

# Files of another kind than the one that is wanted.
error "net.hdm: a compressed network (.hdm); a program (.hdp) is needed" run net.hdm --input two.idx
error "net.hdm: a compressed network (.hdm); a program (.hdp) is needed" predict net.hdm
error "net.hdp: a compiled program (.hdp); allowed are a model (.hdm, .onnx or .tflite) and the word default" compile net.hdp --geometry 4x8x8x2 -o x.hdp
error "default: a float network; compile takes an .hdm: run heddle compress first" compile default --geometry 4x8x8x2 -o x.hdp
error "net.hdm: compressed already; allowed are an ONNX or TFLite file and the word default" compress net.hdm --calib two.idx -o x.hdm
error "$work/net.hdm: compressed already; explore and point take the float network (.onnx or .tflite) or the word default" point net.hdm --calib two.idx --images two.idx --labels labels.idx
error "$work/two.idx: an idx file; an ONNX model is expected" explore two.idx --calib two.idx --images two.idx --labels labels.idx -o study
absent study
printf '\0\0\x08\x01\0\0\0\x03\x01\x02\x03' >three.idx
printf '\0\0\x08\x03\0\0\0\x01\0\0\0\x02\0\0\0\x02abcd' >small.idx
error "$work/three.idx: 3 labels; $work/two.idx has 2 items" explore default --calib two.idx --images two.idx --labels three.idx -o study
error "$work/small.idx: 4 values an item; the model's input has 784" explore default --calib small.idx -o study
error "$work/small.idx: 4 values an item; the model's input has 784" explore default --images small.idx --labels labels.idx -o study
absent study
rm three.idx small.idx
error "net.hdm: a compressed network (.hdm); an idx file is needed" run net.hdp --input net.hdm
error "two.idx: an idx file; a llama2.c checkpoint is expected" generate two.idx --tokenizer no.bin
error ".: is a directory, not a file" compile . --geometry 4x8x8x2 -o x.hdp
error ".: is a directory, not a file" compile net.hdm --geometry 4x8x8x2 -o .

# Damaged ones.
head -c 10 net.hdm >cut.hdm
error "cut.hdm: 10 bytes; the header alone of a compressed network (.hdm) has 16" eval cut.hdm --images two.idx --labels labels.idx
head -c 1000 net.hdm >cut.hdm
error "cut.hdm: payload of 984 bytes; the header says 26086" eval cut.hdm --images two.idx --labels labels.idx
{ head -c 4 net.hdp; le32 9; tail -c +9 net.hdp; } >cut.hdp
error "cut.hdp: version 9; this program reads version 4" run cut.hdp --input two.idx
{ head -c 20 net.hdp; printf '\377'; tail -c +22 net.hdp; } >cut.hdp
"$heddle" run cut.hdp --input two.idx >stdout 2>stderr
[ $? -eq 1 ] && grep -q "^heddle: cut.hdp: checksum of the payload is [0-9a-f]\{8\}; the header says [0-9a-f]\{8\}$" stderr || fail "checksum: found '$(cat stderr)'"
gzip -c two.idx >two.idx.gz
head -c 100 two.idx.gz >cut.idx.gz
error "cut.idx.gz: gzip data is cut short after 100 bytes" run net.hdp --input cut.idx.gz
{ cat two.idx.gz; echo more; } >cut.idx.gz
error "cut.idx.gz: 5 bytes follow the end of the gzip data" run net.hdp --input cut.idx.gz
{ head -c 30 two.idx.gz; printf '\377\377\377\377\377\377\377\377\377\377'; tail -c +41 two.idx.gz; } >cut.idx.gz
error_starts "cut.idx.gz: damaged gzip data near byte " run net.hdp --input cut.idx.gz
printf '\0\0\x07\x01\0\0\0\x01\0' >cut.idx
error "cut.idx: idx element type 7; allowed are 8 (uint8), 9 (int8), 11 (int16), 12 (int32), 13 (float)" run net.hdp --input cut.idx
printf '\0\0\x08\x09\0\0\0\x01\0' >cut.idx
error "cut.idx: idx rank 9; allowed are 1 to 4" run net.hdp --input cut.idx
printf '\0\0\x08\x01\0\0\0\x09\0' >cut.idx
error "cut.idx: idx size 0 is 9, which needs more elements than the 1 the file holds" run net.hdp --input cut.idx
printf '\0\0\x08\x01' >cut.idx
error "cut.idx: 4 bytes; the header of an idx file of rank 1 has 8" run net.hdp --input cut.idx
rm cut.* two.idx.gz

# Codes and pixels.
error "eval: --codes: found 'x'; allowed is SCALE:ZERO, above 0 and -128..127, as in 0.5847:83" eval default --codes x --images two.idx --labels labels.idx
error "two.idx: items of another type than i8; --codes is for those" eval default --codes 0.5:3 --images two.idx --labels labels.idx

# Memories: what a layer needs and what there is.
for row in "act=64|layer 'conv1' needs 1176 activation words; geometry 4x8x8x2 has 64" "window=16|layer 'conv2' needs 18 window words of 8 bytes; geometry 4x8x8x2 has 16" \
    "stream=16|layer 'conv2' needs 33 stream words (with the layers before it), at least; geometry 4x8x8x2 has 16" \
    "param=16|layer 'conv2' needs 48 parameter words (with the layers before it); geometry 4x8x8x2 has 16" \
    "descriptors=2|layer 'conv2' needs 3 descriptors (with the layers before it and END); geometry 4x8x8x2 has 2" \
    "extern=10|the weight stream needs 6738 words of external memory; extern=10 has 1024" "pool=0|layer 'pool' needs 1 unit for maximum pooling (pool=1); geometry 4x8x8x2 has 0"; do
    error "${row#*|}" compile net.hdm --geometry 4x8x8x2 --memory "${row%%|*}" -o x.hdp
done
error "layer 'conv1' needs 980 activation words; geometry 2x9x32x2 has 64" compile net.hdm --board hx8k -o x.hdp # docs/tour.md
error "net.hdp: compiled for 4x8x8x2; board hx8k is 2x9x32x2: compile it with --board hx8k" predict net.hdp --board hx8k
error "predict: --clock: found '0'; allowed is a number 1..1e+12" predict net.hdp --clock 0

# Devices and their options.
run=(run net.hdp --input two.idx)
error "device 'cloud': unknown; there are ref, sim, usb, sysc" "${run[@]}" --device cloud
error "device 'cloud': unknown; heddle devices lists them" profile net.hdp --device cloud
error "run: --bit-rate: only devices usb and sysc have one; found ref" "${run[@]}" --bit-rate 9600
error "run: --trace: only device sim writes waveforms; found ref" "${run[@]}" --trace x.fst
error "run: --queue: only device usb has one; found ref" "${run[@]}" --queue 4
error "run: --queue: found '0'; allowed are up to three numbers of at least 1 by comma, as in 16,65536" "${run[@]}" --device usb --queue 0
error "run: --link: only device sysc has one; found ref" "${run[@]}" --link uart
error "usb:fd:x: a number is needed, of a descriptor that is open (3<>/dev/bus/usb/001/002)" "${run[@]}" --device usb:fd:x
error "serve: --link: found 'x'; allowed are bridge, usb and ulpi" serve --board hx8k --link x
error "serve: address nowhere, port 3240; an IPv4 address and a port up to 65535 are needed" serve --board hx8k --address nowhere
error "serve: --port: found '70000'; allowed is a whole number 0..65535" serve --board hx8k --port 70000
error "serve: --redir needs a value (SOCKET)" serve --board hx8k --redir ""
error "two.idx: exists and is no socket; name another path for --redir" serve --board hx8k --redir two.idx
error "no/socket: No such file or directory" serve --board hx8k --redir no/socket
long=$(printf '%0120d' 0)
error "serve: --redir: found a path of 120 characters; a socket's has 1 to 107" serve --board hx8k --redir "$long"

# Each place of a file, given what is no such file: none, a folder, an empty one, a text, files of other kinds; one that may not be read. FILE stands for its name.
mkdir folder
: >empty
echo "some text, not a network" >text
head -c 30 two.idx | gzip >cut.gz
cp net.hdm locked && chmod 000 locked
# given MESSAGE FILE: what every command of the list says of it, with FILE and the folder of explore's absolute paths taken out.
given() {
    local message=$1 file=$2 line words
    for line in "${places[@]}"; do
        words=(${line//FILE/$file})
        "$heddle" "${words[@]}" >stdout 2>stderr </dev/null
        [ $? -eq 1 ] && [ ! -s stdout ] && [ "$(sed "s:$work/$file:$file:" stderr)" = "heddle: $file: $message" ] || fail "heddle ${words[*]}: found '$(cat stderr)', wanted 'heddle: $file: $message'"
    done
}
everywhere() {
    given "No such file or directory" nosuch
    given "is a directory, not a file" folder
    [ "$(id -u)" -eq 0 ] || given "Permission denied" locked
}
places=("run FILE --input two.idx" "predict FILE" "profile FILE --device ref")
everywhere
given "0 bytes; the header alone of a program (.hdp) has 16" empty
given "starts with 'some'; a program (.hdp) starts with 'HDP1'" text
given "an idx file; a program (.hdp) is needed" two.idx
given "a gzip file; a program (.hdp) is needed" cut.gz
given "a compressed network (.hdm); a program (.hdp) is needed" net.hdm
places=("compress FILE --calib two.idx -o x.hdm" "tune FILE -o x.hdm" "eval FILE --images two.idx --labels labels.idx" "compile FILE --geometry 4x8x8x2 -o x.hdp")
everywhere
given "a compiled program (.hdp); allowed are a model (.hdm, .onnx or .tflite) and the word default" net.hdp
places+=("explore FILE --calib two.idx --images two.idx --labels labels.idx -o study")
given "is empty; an ONNX model is expected" empty
given "byte 0: no valid ONNX field begins here" text
given "an idx file; an ONNX model is expected" two.idx
given "a gzip file; an ONNX model is expected" cut.gz
places=("compress default --calib FILE -o x.hdm" "tune default --images FILE --labels labels.idx -o x.hdm" "train --images FILE --labels labels.idx -o x.onnx" "run net.hdp --input FILE"
    "eval net.hdm --images FILE --labels labels.idx" "eval net.hdm --images two.idx --labels FILE" "explore default --calib FILE --images two.idx --labels labels.idx -o study"
    "explore default --calib two.idx --images two.idx --labels FILE -o study")
everywhere
given "0 bytes; the start of an idx file has 4" empty
given "starts with 73 6f; an idx file starts with 00 00" text
given "a compressed network (.hdm); an idx file is needed" net.hdm
given "a program (.hdp); an idx file is needed" net.hdp
places=("compress default --calib two.idx --policy FILE -o x.hdm" "tune default --policy FILE -o x.hdm")
everywhere
given "line 1: not valid JSON" empty
given "line 1: not valid JSON" net.hdm
places=("explore default --axes FILE -o study")
everywhere
given "no JSON object" text
places=("flash --board hx8k FILE" "flash --board icebreaker FILE --sram")
everywhere
given "no iCE40 bitstream (no 7e aa 99 7e in its first 1024 bytes)" net.hdm
places=("eval FILE --tokens two.idx" "generate FILE --tokenizer two.idx" "compress FILE --tokens two.idx -o x.hlm")
everywhere
given "0 bytes; the header of a llama2.c checkpoint alone has 28" empty
given "an idx file; a llama2.c checkpoint is expected" two.idx
given "a compressed network (.hdm); a llama2.c checkpoint is expected" net.hdm
# Where a result cannot go is said before hours of work.
places=("compress default --calib two.idx -o FILE" "tune default -o FILE" "train -o FILE" "compile net.hdm --geometry 4x8x8x2 -o FILE" "run net.hdp --input two.idx -o FILE" "demo -o FILE" "synth --board hx8k -o FILE")
given "is a directory, not a file" folder
given "No such file or directory" nosuch/result
rm -rf folder empty text cut.gz locked study
absent x.hdm x.hdp x.onnx x.hlm

# Sweeps.
error "explore: --objectives: 'array_time' is one too many; allowed are 6" explore default --objectives accuracy,time,rate,energy,cells,bytes,array_time -o s
error "explore: --slurm goes with --engine slurm" explore default --slurm x -o s
error "the axes combine to 21600 points; allowed are 20000, or take --search random or nsga2" explore default --weights 1,2,3,4,5,6,7,8,ternary --sparsity 0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9 \
    --geometry 1x1x8x2,1x2x8x2,1x3x8x2,1x4x8x2,1x5x8x2,1x6x8x2,1x7x8x2,2x1x8x2 --block 8x8,4x8,2x8,1x8,8x4,8x2,8x1,4x4,2x2,1x1 --method rtn,gptq,clip -o s
axes() { printf '%s\n' "$2" >a.json; error "$1" explore default --axes a.json -o s; }
axes "a.json: no JSON object" '[]'
axes "a.json: no object 'axes', as in {\"axes\": {\"weights\": [2, 4], \"geometry\": [\"4x8x8x2\"]}}" '{}'
axes "a.json: axis 'weights' is no list of values" '{"axes": {"weights": 3}}'
axes "a.json: axis 'weights': a value that is neither text nor number" '{"axes": {"weights": [{}]}}'
axes "a.json: axis 'colour': unknown; there are weights, sparsity, block, method, ends, geometry, board, memory" '{"axes": {"colour": [3]}}'
rm a.json
error "--board none has no memories of its own; allowed is --memory fit" point default --board none --geometry 4x8x8x2 --memory board
error "two.idx/points: Not a directory" point default -o two.idx
error "point: 'default' and --sweep do not go together; the sweep names the model" point default --sweep s/sweeps/a.json
error "point: --weights and --sweep do not go together; the sweep says it" point --weights 4 --sweep s/sweeps/a.json
error "s/sweeps/a.json: No such file or directory" point --sweep s/sweeps/a.json
mkdir -p s/sweeps
echo '{}' >s/sweeps/a.json
error "s/sweeps/a.json: no sweep that heddle explore wrote: 'study' has no text 'model' of less than 512 characters" point --sweep s/sweeps/a.json
rm -r s
error "model $work/two.idx: --calib, --images and --labels are needed; only the default network brings its data" point two.idx
HEDDLE_DATASET=$work/none error "$work/none/train-images-idx3-ubyte.gz: not found; install Debian's package dataset-fashion-mnist, or name files with --calib, --images and --labels" point default

# Boards, their tools, and folders.
error "synth: --link: found 'x'; allowed are uart and usb" synth --board hx8k --link x
error "board 'hx8k': no USB lines end at its FPGA; of the boards known ulx3s has some" synth --board hx8k --link usb
error "synth: --seeds: found '99'; allowed is a whole number 1..32" synth --board hx8k --seeds 99
mkdir bin
ln -s "$(command -v cat)" "$(command -v cmp)" "$(command -v head)" bin
PATH=$work/bin error "synth: yosys is not installed (Debian package 'yosys')" synth --board hx8k
printf '#!/bin/sh\n' >bin/yosys && chmod +x bin/yosys
PATH=$work/bin error "synth: nextpnr-ice40 is not installed (Debian package 'nextpnr-ice40')" synth --board hx8k
PATH=$work/bin error "synth: nextpnr-ecp5 is not installed; ./bootstrap ecp5 brings it" synth --board ulx3s
PATH=$work/bin error "sim: verilator is not installed (Debian package 'verilator')" "${run[@]}" --device sim
{ printf '\176\252\231\176'; head -c 135096 /dev/zero; } >hx8k.bin
PATH=$work/bin error "flash: iceprog is not installed (Debian package 'fpga-icestorm')" flash --board hx8k hx8k.bin
printf '#!/bin/bash\necho "init.."\necho "Can'\''t find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014)."\necho ABORT.\nexit 2\n' >bin/iceprog && chmod +x bin/iceprog
PATH=$work/bin:$PATH error "hx8k: iceprog failed: Can't find iCE FTDI USB device (vendor_id 0x0403, device_id 0x6010 or 0x6014). (is the board plugged in, and may this user open it?)" flash --board hx8k hx8k.bin
rm hx8k.bin

# Tools that say what the real ones say when a design is too large, too slow or not placed: the report is printed, the error stands behind it, no bitstream is written.
cat >bin/yosys <<'END'
#!/bin/bash
[ "$FAKE" != synth ] || { echo "ERROR: Module \`top' is odd"; exit 1; }
files=$(sed -n 's/^read_verilog -I[^ ]* //p' synth.ys)
[ -n "$files" ] || { echo "ERROR: reads no file"; exit 1; }
for f in $files; do [ -r "$f" ] || { echo "ERROR: no file $f"; exit 1; }; done
touch design.il cells.json top.json
END
cat >bin/nextpnr-ice40 <<'END'
#!/bin/bash
case $FAKE in large) cells=9000 ;; *) cells=900 ;; esac
printf 'Info: Device utilisation:\nInfo: \t         ICESTORM_LC:  %d/ 7680    1%%\n' $cells
case $FAKE in
large) echo "ERROR: cannot place"; exit 1 ;;
tight) echo "ERROR: Unable to find a placement location for cell 'x'"; exit 1 ;;
broken) echo "ERROR: pin 'x' is nowhere"; exit 1 ;;
endless) sleep 20 ;;
silent) echo '{}' >report.json ;;
pathless) echo '{"fmax": {"clk": {"achieved": 20.5, "constraint": 24}}, "critical_paths": []}' >report.json ;;
slow) echo '{"fmax": {"clk": {"achieved": 20.5, "constraint": 24}}}' >report.json ;;
esac
exit 0
END
printf '#!/bin/bash\ntouch top.bin\n' >bin/icepack
chmod +x bin/*
small=act=128,window=32,stream=256,param=64,descriptors=8,tables=0,acc=18,fetch=1,residual=0,hop=1,post=16
seed=1
synth() {
    local message=$1 fake=$2
    shift 2
    FAKE=$fake PATH=$work/bin:$PATH "$heddle" synth --board hx8k --geometry 1x1x8x2 --clock 24000000 --seed $((seed++)) -o x.bin "$@" >stdout 2>stderr </dev/null
    [ $? -eq 1 ] && [ "$(cat stderr)" = "heddle: $message" ] || fail "synth, $fake: found '$(cat stderr)', wanted 'heddle: $message'"
    absent x.bin
}
synth "hx8k: yosys failed: ERROR: Module \`top' is odd" synth --memory $small,pump=1
synth "hx8k: nextpnr-ice40 failed: ERROR: pin 'x' is nowhere" broken --memory $small,pump=1
synth "hx8k: needs 9000 ICESTORM_LC, the iCE40HX8K has 7680: 1320 too many" large --memory $small,pump=1
grep -q "^ICESTORM_LC *9000 *7680  1320 too many$" stdout || fail "synth: no report: $(cat stdout)"
synth "hx8k: the placer found no room, though nothing is over its limit; a smaller geometry is needed" tight --memory $small,pump=1
synth "hx8k: reaches 20.50 MHz, 24.00 wanted; try more --seeds, or a --clock of at most 20500000" slow --memory $small,pump=1
synth "hx8k: not placed and routed within 1 s; try another --seed, more --seeds or a longer --limit" endless --memory $small,pump=1 --limit 1
synth "geometry: lanes/pump = 2; allowed 4 or more" none --memory $small
FAKE=silent PATH=$work/bin:$PATH error_starts "$work/cache/board-hx8k-" synth --board hx8k --seed 50
grep -q "/report.json: nextpnr reports no clock$" stderr || fail "synth, silent: $(cat stderr)"
FAKE=pathless PATH=$work/bin:$PATH error_starts "$work/cache/board-hx8k-" synth --board hx8k --seed 51
grep -q "/report.json: nextpnr reports no path between two clock edges$" stderr || fail "synth, pathless: $(cat stderr)"

# The project and the cache in folders whose names make, yosys and a shell would take apart: no tool is given such a path as part of a script.
odd=$work/$'b\303\244r & \'n#1 $x'
mkdir -p "$odd/sw" && cp -r "$tests/../hw" "$tests/../sim" "$tests/../boards" "$odd" && cp -r "$tests/../sw/contract" "$odd/sw"
export HEDDLE_SOURCE=$odd HEDDLE_CACHE="$odd/cache"
synth "hx8k: reaches 20.50 MHz, 24.00 wanted; try more --seeds, or a --clock of at most 20500000" slow --memory $small,pump=1
cat >bin/verilator <<'END'
#!/bin/bash
[ "$1" = --getenv ] && { echo .; exit; }
n=0
for a; do case $a in *.v) [ -r "$a" ] || { echo "%Error: no file $a"; exit 1; }; n=$((n + 1)) ;; esac; done
[ $n -gt 20 ] || { echo "%Error: $n files"; exit 1; }
mkdir include && touch Vheddle.cpp include/verilated.cpp include/verilated_threads.cpp
END
cat >bin/g++ <<'END'
#!/bin/bash
for a; do
    case $a in
    -I*) [ -d "${a#-I}" ] || [ "${a##*/}" = vltstd ] || { echo "error: no folder $a"; exit 1; } ;;
    -*) ;;
    *.cpp) [ -r "$a" ] || { echo "error: no file $a"; exit 1; } ;;
    esac
done
while [ "$1" != -o ]; do shift; done
echo >"$2"
END
chmod +x bin/verilator bin/g++
PATH=$work/bin:$PATH "$heddle" "${run[@]}" --device sim >stdout 2>stderr </dev/null
grep -q "^heddle: .*/sim-4x8x8x2-[0-9a-f]*\.so: the simulator cannot be loaded: .*: file too short" stderr || fail "sim in a folder with an odd name: $(cat stderr)"
unset HEDDLE_SOURCE
export HEDDLE_CACHE=$work/cache
rm -r bin "$odd"
HEDDLE_CACHE=$work/two.idx error "$work/two.idx: cannot make the cache directory: Not a directory (set HEDDLE_CACHE to a writable one)" "${run[@]}" --device sim
HEDDLE_SOURCE=$work error "$work/hw: cannot read the RTL sources: No such file or directory (set HEDDLE_SOURCE to the project's folder)" synth --board hx8k
rm -rf cache explore
only "labels.idx net.hdm net.hdp two.idx "
finish
