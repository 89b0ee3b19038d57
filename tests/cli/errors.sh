# Golden errors of the command line itself: exact standard error, exit code 1, nothing on standard output, no file left.
. "$(dirname "$0")/common.sh"

# Commands, options, numbers.
"$heddle" >stdout 2>stderr
[ $? -eq 1 ] && [ "$(tail -n 1 stderr)" = "heddle: no command given" ] || fail "no command: found '$(tail -n 1 stderr)'"
error "unknown command 'paint'; heddle help lists them" paint
error "unknown command 'paint'; heddle help lists them" help paint
error "train: -o NET.onnx is missing" train
error "train: unknown option '--speed'; heddle train --help lists them" train --speed 3 -o x.onnx
error "train: unknown option '--speed'; heddle train --help lists them" train --speed=3 -o x.onnx
error "train: --epochs needs a value (N)" train -o x.onnx --epochs
error "train: --epochs is given twice" train -o x.onnx --epochs 1 --epochs 2
error "train: --epochs: found '0'; allowed is a whole number 1..1000" train -o x.onnx --epochs 0
error "train: --epochs: found '3x'; allowed is a whole number 1..1000" train -o x.onnx --epochs 3x
error "train: --epochs: found '99999999999999999999'; allowed is a whole number 1..1000" train -o x.onnx --epochs 99999999999999999999
error "train: --rate: found 'nan'; allowed is a number 1e-07..1" train -o x.onnx --rate nan
error "train: unexpected 'net'; it takes options only" train net
error "train: --images and --labels go together" train -o x.onnx --images x.idx
error "eval: MODEL is missing; heddle eval --help shows an example" eval
error "eval: unexpected 'b'; it takes one MODEL" eval a b
error "eval: --images and --labels go together" eval default --images x.idx
error "eval: --raw takes no value" eval default --raw=1
error "compile: one of --board and --geometry is needed, as in --geometry 4x8x8x2" compile x.hdm -o x.hdp
error "board 'nexys': unknown; there are $boards" compile x.hdm --board nexys -o x.hdp
error "compile: --expand-input: found 'maybe'; allowed are auto, no and yes" compile x.hdm --geometry 4x8x8x2 --expand-input maybe -o x.hdp
error "compile: --stream-format: found 'foo'; allowed are auto and raw" compile x.hdm --geometry 4x8x8x2 --stream-format foo -o x.hdp
error "suite 'chairs': unknown; heddle bench lists them" bench chairs
error "board 'nexys': unknown; there are $boards" demo --board nexys

# Bitstreams.
error "ulx3s: no PLL setting gives 5.000 MHz within 2%; allowed are 10 to 400 MHz" synth --board ulx3s --clock 5000000
error "hx8k: no PLL setting gives 8.000 MHz within 2%; allowed are 16 to 275 MHz" synth --board hx8k --clock 2000000
error "ulx3s: external memory timed for 55 MHz, clock 50.000 MHz; they must agree, give --clock and --memory mhz= together" synth --board ulx3s --clock 50000000
printf '\377\000Part: LFE5U-25F-6CABGA381\000\377\377\377\275\263' >small.bit
error "small.bit: its comment does not say 'Part: LFE5U-85F'; a bitstream for ulx3s does" flash --board ulx3s small.bit
error "small.bit: no iCE40 bitstream (no 7e aa 99 7e in its first 1024 bytes)" flash --board hx8k small.bit
printf '\176\252\231\176' >ice.bin
error "ice.bin: no ECP5 bitstream (no ff ff bd b3 in its first 1024 bytes)" flash --board ulx3s ice.bin
error "ice.bin: 4 bytes; a bitstream for hx8k has 135100" flash --board hx8k ice.bin
rm small.bit ice.bin

# Weights, grids, blocks, granularity.
compress=(compress default --calib x.idx -o x.hdm)
error "compress: --calib X.idx is missing" compress default -o x.hdm
error "compress: --weights: found '9'; allowed are 1..8, ternary, and 16 for sparse language models" "${compress[@]}" --weights 9
error "compress: --weights: found '44'; allowed are 1..8, ternary, and 16 for sparse language models" "${compress[@]}" --weights 44
error "compress: --grid: found 'prime'; allowed are odd, even, auto, and affine for language models" "${compress[@]}" --grid prime
error "compress: --block: found '8'; allowed is INxOUT, each 1..65535, as in 8x8" "${compress[@]}" --block 8
error "compress: --block: found '8x'; allowed is INxOUT, each 1..65535, as in 8x8" "${compress[@]}" --block 8x
error "compress: --block: found '0x8'; allowed is INxOUT, each 1..65535, as in 8x8" "${compress[@]}" --block 0x8
error "compress: --balance: found '65'; allowed is a whole number 0..64" "${compress[@]}" --balance 65
error "compress: --granularity: found 'group:'; allowed are tensor, channel, group:N, as in group:32, and float-group:N for language models" "${compress[@]}" --granularity group:
error "compress: --granularity: found 'row'; allowed are tensor, channel, group:N, as in group:32, and float-group:N for language models" "${compress[@]}" --granularity row
error_starts "compress: --method: method 'magic': found 'magic'; allowed are" "${compress[@]}" --method magic
error "compress: --method: method 'gptq+rtn': 'rtn' where a step of its kind stands already" "${compress[@]}" --method gptq+rtn
error "compress: --sparsity: found '1'; allowed is a number 0..0.99" "${compress[@]}" --sparsity 1
error "compress: --method: method 'smooth:2': 'smooth' takes a number from 0 to 1" "${compress[@]}" --method smooth:2
error "compress: --method: method 'smooth+awq': 'awq' where a step of its kind stands already" "${compress[@]}" --method smooth+awq
error "compress: --method: method 'outliers:0.5': 'outliers' takes a number from 1 to 1000" "${compress[@]}" --method outliers:0.5
error "compress: --ranges: found 'all'; allowed are mse, minmax and percentile[:P] (50 <= P <= 100), as in percentile:99.9" "${compress[@]}" --ranges all
echo '{"base": {"ranges": "percentile:20"}}' >bad.json
error "bad.json: base: 'ranges' is 'percentile:20'; must be 'mse', 'minmax', 'percentile' or 'percentile:P' with 50 <= P <= 100" "${compress[@]}" --policy bad.json
echo '{"layers": {"conv1": {"ranges": "mse"}}}' >bad.json
error_starts "bad.json: layer 'conv1': unknown key 'ranges'; allowed" "${compress[@]}" --policy bad.json
rm bad.json

# Tuning: the same options under its own name, and its own.
error "tune: -o N.hdm is missing" tune default
error "tune: --weights: found '9'; allowed are 1..8, ternary, and 16 for sparse language models" tune default --weights 9 -o x.hdm
echo '{"base": {"method": "smooth"}}' >rewrites.json
error "tune: method 'rtn+smooth:0.5' rewrites the network before it is compressed; it goes with heddle compress" tune default --policy rewrites.json -o x.hdm
echo '{"base": {"structure": "channel", "sparsity": 0.5}}' >rewrites.json
error "tune: structure 'channel' makes the network narrower before it is compressed; it goes with heddle compress (tune --width trains a narrower student)" tune default --policy rewrites.json -o x.hdm
error "tune: structure 'channel' makes the network narrower before it is compressed; it goes with heddle compress (tune --width trains a narrower student)" tune default --structure channel -o x.hdm
rm rewrites.json
error "tune: --structure: found '3:2'; allowed are block, channel, unstructured and N:M (1 <= N < M <= 64), as in 2:4" tune default --structure 3:2 -o x.hdm
error "tune: --masks: found 'some'; allowed are fixed, gradual, regrow and feedback" tune default --masks some -o x.hdm
error "tune: --share: found '2'; allowed is a number 0..1" tune default --share 2 -o x.hdm
error "tune: --score: found 'best'; allowed are norm and fisher" tune default --score best -o x.hdm
error "tune: --settled: found '2'; allowed is a number 0..1" tune default --settled 2 -o x.hdm
error "tune: --shift: found '9'; allowed is a whole number 0..8" tune default --shift 9 -o x.hdm
error "train: --width: found '9'; allowed is a number 0.1..8" train --width 9 --limit 100 --epochs 1 -o x.onnx
error "tune: --test-images and --test-labels go together" tune default --test-images x.idx -o x.hdm
error "no.onnx: No such file or directory" tune default --teacher no.onnx -o x.hdm

# Files: missing, of the wrong kind, or where nothing can be written.
error "missing.onnx: No such file or directory" eval missing.onnx
error "missing.hdp: No such file or directory" run missing.hdp --input x.idx
error "no/x.hdm: No such file or directory" compress default --calib x.idx -o no/x.hdm
error "no/x.onnx: No such file or directory" train -o no/x.onnx
error "run: --input X.idx is missing" run missing.hdp
error "x.idx: No such file or directory" "${compress[@]}"
HEDDLE_DATASET=$work/none error "$work/none/train-images-idx3-ubyte.gz: not found; install Debian's package dataset-fashion-mnist, or name files with --images and --labels" train -o x.onnx
only ""

# Content: a program where a model is wanted, labels that do not fit.
printf 'HDP1 and more' >fake.hdp
error "fake.hdp: a compiled program (.hdp); allowed are a model (.hdm, .onnx or .tflite) and the word default" eval fake.hdp
# Two images of 28 x 28 zeros (rank 3), three labels; then one label of 200.
{ printf '\0\0\x08\x03\0\0\0\x02\0\0\0\x1c\0\0\0\x1c'; head -c 1568 /dev/zero; } >two.idx
printf '\0\0\x08\x01\0\0\0\x03\0\0\0' >three.idx
printf '\0\0\x08\x01\0\0\0\x02\x01\xc8' >big.idx
printf '\0\0\x08\x02\0\0\0\x02\0\0\0\x01\0\0' >rank2.idx
{ printf '\0\0\x08\x02\0\0\0\x02\0\0\0\x05'; head -c 10 /dev/zero; } >narrow.idx
error "three.idx: 3 labels; two.idx has 2 items" eval default --images two.idx --labels three.idx
error "big.idx: label 1 is 200; the model has 10 outputs" eval default --images two.idx --labels big.idx
error "rank2.idx: idx type 8, rank 2; labels are bytes (type 8) of rank 1" eval default --images two.idx --labels rank2.idx
error "narrow.idx: 5 values an item; the model's input has 784" eval default --images narrow.idx --labels big.idx
error "serve: --redir goes without --address and --port, which are USB/IP's" serve --board hx8k --redir board --port 1
rm fake.hdp ./*.idx
only ""
finish
