# Golden errors of language models' files, each made here byte by byte: GGUF, and .safetensors beside its config.json.
. "$(dirname "$0")/common.sh"
export OMP_NUM_THREADS=1 # models this small only wait for each other
le32() { printf "\\$(printf %03o $(($1 & 255)))\\$(printf %03o $(($1 >> 8 & 255)))\\$(printf %03o $(($1 >> 16 & 255)))\\$(printf %03o $(($1 >> 24 & 255)))"; }
le64() { le32 "$1"; le32 0; }
text() { le64 ${#1}; printf %s "$1"; }
value() { text "$1"; le32 4; le32 "$2"; }              # u32
word() { text "$1"; le32 8; text "$2"; }               # a string
tensor() { text "$1"; le32 "$2"; shift 2; while [ $# -gt 2 ]; do le64 "$1"; shift; done; le32 "$1"; le64 "$2"; } # name, dimensions, sizes, type, offset
head_of() { printf GGUF; le32 3; le64 "$1"; le64 "$2"; } # tensors, values
tokens() { printf '\0\0\x0b\x02\0\0\0\x01\0\0\0\x02\0\1\0\1'; }
tokens >t.idx
gguf() { cat >m.gguf; error "m.gguf: $1" eval m.gguf --tokens t.idx; }

printf 'GGUF\3\0' | gguf "not a whole GGUF file: its header lies outside of its 6 bytes"
{ printf GGUF; le32 1; le64 0; le64 0; } | gguf "GGUF version 1; supported are 2 and 3 (little-endian)"
head_of 999999999 0 | gguf "999999999 tensors and 0 values; allowed 65536 and 65536"
{ head_of 0 1; text key; le32 13; } | gguf "value 'key' has type 13; arrays of arrays and types above 12 are not supported"
{ head_of 0 1; text key; le32 9; le32 9; le64 1; } | gguf "value 'key' has type 9; arrays of arrays and types above 12 are not supported"
{ head_of 0 1; text key; le32 9; le32 4; le64 900; } | gguf "not a whole GGUF file: an array lies outside of its 51 bytes"
{ head_of 0 1; text "$(printf '%070000d' 0)"; le32 4; le32 1; } | gguf "a value's name has 70000 bytes; allowed 65536"
{ head_of 1 0; text "$(printf '%070000d' 0)"; le32 1; } | gguf "a tensor's name has 70000 bytes; allowed 65536"
{ head_of 1 0; tensor a 9 1 0 0; } | gguf "tensor 'a' has 9 dimensions; allowed 1 to 4"
{ head_of 1 0; tensor a 1 0 0 0; } | gguf "tensor 'a': size 0 is 0; sizes are positive, and their product below 2^61"
{ head_of 1 0; tensor a 1 32 3 0; } | gguf "tensor 'a' has ggml type 3; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K"
{ head_of 1 0; tensor a 1 31 8 0; } | gguf "tensor 'a' has rows of 31 elements; its blocks have 32, and rows are of whole blocks"
{ head_of 1 0; tensor a 1 32 0 0; } | gguf "not a whole GGUF file: the data of a tensor lies outside of its 57 bytes"
{ head_of 0 1; value general.alignment 0; } | gguf "general.alignment is 0; allowed 1 to 1048576"
{ head_of 0 1; word general.alignment x; } | gguf "value 'general.alignment' is no whole number (type 8)"
head_of 0 0 | gguf "architecture ''; supported is 'llama'"
{ head_of 0 1; word general.architecture gpt2; } | gguf "architecture 'gpt2'; supported is 'llama'"
{ head_of 0 2; word general.architecture llama; value llama.rope.freq_base 10000; } | gguf "value 'llama.rope.freq_base' is no real number (type 4)"
{ head_of 0 2; word general.architecture llama; text llama.rope.freq_base; le32 6; le32 $((0x48f42400)); } |
    gguf "norms with epsilon 1e-05, rotary positions of base 500000 scaled by 1; supported are 1e-5, 10000 and 1"
{ head_of 0 1; word general.architecture llama; } | gguf "value 'llama.embedding_length' is missing"
sizes() { word general.architecture llama; value llama.embedding_length 8; value llama.feed_forward_length 8; value llama.block_count 1; value llama.attention.head_count 2; value llama.context_length 8; }
{ head_of 0 6; sizes; } | gguf "tensor 'token_embd.weight' of two dimensions is missing"
{ head_of 1 7; sizes; value llama.rope.dimension_count 2; tensor token_embd.weight 2 8 16 0 0; head -c 600 /dev/zero; } | gguf "2 of a head's 4 elements have rotary positions; supported is all"
{ head_of 1 6; sizes; tensor token_embd.weight 2 4 16 0 0; head -c 600 /dev/zero; } | gguf "tensor 'token_embd.weight' is 16 x 4; its sizes ask for 16 x 8"
{ head_of 1 6; sizes; tensor token_embd.weight 2 8 16 0 0; head -c 600 /dev/zero; } | gguf "tensor 'output_norm.weight' is missing"
rm m.gguf

# .safetensors: the header's length (8 bytes), the header, the data.
good='"model_type": "llama", "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16'
config() { printf '%s\n' "$2" >config.json; error "config.json: $1" eval m.safetensors --tokens t.idx; }
weights() { printf '{%s}\n' "$good" >config.json; cat >m.safetensors; error "m.safetensors: $1" eval m.safetensors --tokens t.idx; }
json_head() { le64 ${#1}; printf %s "$1"; }
: >m.safetensors
config "no JSON object" '[]'
config "model_type ''; supported is 'llama'" '{}'
config "hidden_act 'gelu'; supported is 'silu'" '{"model_type": "llama", "hidden_act": "gelu"}'
config "rope_scaling; supported are rotary positions as they are" '{"model_type": "llama", "rope_scaling": {"factor": 2}}'
config "'rms_norm_eps' is 1e-06; supported is 1e-05" '{"model_type": "llama", "rms_norm_eps": 1e-6}'
config "'hidden_size' is missing or no whole number of 1 and more" '{"model_type": "llama"}'
config "'hidden_size' is missing or no whole number of 1 and more" '{"model_type": "llama", "hidden_size": 8.5}'
printf 'abc' | weights "not a whole safetensors file: its header of 0 bytes lies outside of its 3"
{ le64 99; printf '{}'; } | weights "not a whole safetensors file: its header of 99 bytes lies outside of its 10"
{ json_head '[]'; head -c 2000 /dev/zero; } | weights "not a safetensors file: its header is no JSON object"
{ json_head '{}'; head -c 100 /dev/zero; } | weights "100 bytes; config.json asks for 448 weights"
{ json_head '{}'; head -c 2000 /dev/zero; } | weights "tensor 'model.embed_tokens.weight' is missing"
embed() { json_head "{\"model.embed_tokens.weight\": {$1}}"; head -c 2000 /dev/zero; }
embed '"dtype": "F32"' | weights "tensor 'model.embed_tokens.weight': dtype, shape or data_offsets are missing"
embed '"dtype": "I8", "shape": [16, 8], "data_offsets": [0, 128]' | weights "tensor 'model.embed_tokens.weight' is I8; supported are F32, F16 and BF16"
embed '"dtype": "F32", "shape": [15, 8], "data_offsets": [0, 480]' | weights "tensor 'model.embed_tokens.weight' has 2 dimensions, the first of 15; config.json asks for 16 x 8"
embed '"dtype": "F32", "shape": [16, 8], "data_offsets": [0, 480]' | weights "tensor 'model.embed_tokens.weight': its data_offsets do not fit its shape and the file"
embed '"dtype": "F32", "shape": [16, 8], "data_offsets": [0, 512]' | weights "tensor 'model.norm.weight' is missing"
rm config.json
error "config.json: No such file or directory" eval m.safetensors --tokens t.idx
rm m.safetensors

# A model of 640 weights, six rows of nine tokens: what compress, tune, train and eval refuse of it.
{ printf '\0\0\x0b\x02\0\0\0\x06\0\0\0\x09'; for i in {1..54}; do printf "\\0\\$(printf %03o $((i % 17 + 3)))"; done; } >t.idx
shape=(--tokens t.idx --shape 8,16,1,1,1)
ok train "${shape[@]}" --vocab 20 --steps 1 -o m.bin
ok compress m.bin --tokens t.idx -o m.hlm
compress() { local message=$1; shift; error "$message" compress m.bin --tokens t.idx "$@" -o x.hlm; }
compress "layer0.q: codes of 4 weights on E8P; they are of 8" --method e8p --code-group 4
compress "layer0.q: codes are found by their own search, which goes with no other solver than gptq, its feedback" --method table:9+clip
compress "policy, base: AWQ on float weights (16 bits); its scales serve rounding, allowed are 1 to 8 bits and ternary" --method awq --weights 16 --sparsity 0.5
compress "policy, base: balanced blocks of a language model; it does not run on the array" --balance 8 --block 2x8 --sparsity 0.5
compress "policy, base: method 'rtn+tucker:0.25' on a language model; its matrices have no kernels, allowed is svd" --method tucker
compress "policy, base: method 'rtn+svd:0.25' with sparsity or float weights, which are for a residual; add +residual" --method svd --sparsity 0.5
compress "policy, base: outliers split off a language model's matrix; its outliers stay float when it is run (heddle eval --outliers)" --method outliers
compress "policy: budget 'global' with channels; a model has one hidden size, so all blocks lose as many" --structure channel --sparsity 0.5 --budget global
compress "compress: --sparsity goes with integers; weights that are coded have --method NAME:BITS and --code-group" --method table --sparsity 0.5
compress "compress: --grid and a budget do not go together for a language model; formats are of the odd grid" --budget-bytes 100 --grid even
compress "no policy is within the budget: budget 10 bytes, smallest reachable 242" --budget-bytes 10
compress "automatic policy: 1 rows of tokens; at least 2, to calibrate on and to judge by" --rows 0:1 --budget-bytes 1000
compress "compress: --tokens and --budget-cycles do not go together" --budget-cycles 10
compress "compress: --rows: found '9:1'; t.idx has 6 rows" --rows 9:1
compress "compress: --rows: found 'x'; allowed is FIRST:COUNT, as in 89:90" --rows x
error "m.hlm: compressed already; allowed are a llama2.c checkpoint and a GGUF file" compress m.hlm --tokens t.idx -o x.hlm
tune() { local message=$1; shift; error "$message" tune m.bin --tokens t.idx --steps 1 --written 0 "$@" -o x.hlm; }
tune "layer0.q: zero points; tuning takes grids without" --grid affine --weights 4
tune "layer0.q: codes of a trellis are not tuned; integers and tables are" --method trellis:3+pv --code-group 1
tune "layer0.q: codes of E8P are not tuned; integers and tables are" --method e8p+pv
tune "layer0.q: integers with zero points are not tuned; symmetric ones are" --method rtn+pv --grid affine
tune "layer0.q: float values have no codes to tune; integers and tables have" --weights 16 --sparsity 0.5 --method gptq+pv
tune "layer0.q: a scale for each group of 8; tuning takes one a row, with shifts for the groups" --granularity float-group:8
tune "layer0: compression folded scales into its norms; training then takes fixed or regrown masks" --method awq --masks gradual --sparsity 0.5
tune "tune: --structure: found 'channel'; allowed are block, unstructured and N:M for a language model (train --teacher makes a narrower one)" --structure channel --sparsity 0.5
tune "tune: --temperature: found '0'; allowed is a number 0.1..100" --temperature 0
tune "tune: --tokens and --width do not go together" --width 0.5
tune "x: No such file or directory" --teacher x
error "the teacher has a vocabulary of 20 and takes 8 tokens; the student has 21 and is trained on 8" train "${shape[@]}" --vocab 21 --steps 1 --teacher m.bin -o n.bin
error "train: --written goes with --teacher" train "${shape[@]}" --vocab 20 --steps 1 --written 5 -o n.bin
error "train: --tokens and --flip do not go together" train "${shape[@]}" --vocab 20 --steps 1 --flip -o n.bin
error "train: --tokens and --width do not go together" train "${shape[@]}" --vocab 20 --steps 1 --width 2 -o n.bin
error "train: --shape: dim 7, 2 heads; a head needs an even number of whole elements" train --tokens t.idx --shape 7,16,1,2,1 --vocab 20 -o n.bin
error "t.idx: row 0, token 6 is 10; the vocabulary has 0 to 9" train "${shape[@]}" --vocab 10 -o n.bin
printf '\0\0\x0b\x02\0\0\0\x01\0\0\0\x02\0\1\0\x63' >other.idx
error "other.idx: row 0, token 1 is 99; the vocabulary has 0 to 19" eval m.bin --tokens other.idx
error "other.idx: row 0, token 1 is 99; the vocabulary has 0 to 19" compress m.bin --tokens other.idx -o x.hlm
{ printf '\0\0\x0b\x02\0\0\0\x01\0\0\0\x63'; head -c 198 /dev/zero; } >other.idx
error "other.idx: rows of 99 tokens; the model takes 8 and one to predict" eval m.bin --tokens other.idx
printf '\0\0\x0b\x02\0\0\0\x01\0\0\0\x01\0\1' >other.idx
error "other.idx: idx type 11, rank 2, 1 values an item; tokens are int16 (type 11) of rank 2, 2 or more a row" eval m.bin --tokens other.idx
device() { local message=$1; shift; error "m.hlm: $message" eval m.hlm --tokens t.idx --device ref --geometry 1x1x8x2 --memory "$1"; }
device "layer 'layer0.qkv.q' needs 17 stream words (with the layers before it), at least; geometry 1x1x8x2 has 16" act=64,stream=16
device "layer 'layer0.qkv.v' needs 24 parameter words (with the layers before it); geometry 1x1x8x2 has 16" act=64,param=16
device "layer 'layer0.qkv.k' needs 3 descriptors (with the layers before it and END); geometry 1x1x8x2 has 2" act=64,descriptors=2
error "eval: --ranges: 6 rows to calibrate on; t.idx has 0 before and 0 behind the evaluated ones (--rows)" eval m.hlm --tokens t.idx --activations 8 --ranges static:6
error "t.idx: token 0: 150994944 bytes; allowed 0 to 108" generate m.hlm --tokenizer t.idx
rm other.idx
only "m.bin m.hlm t.idx "
finish
