# Golden errors of language models' files, each made here byte by byte: GGUF, and .safetensors beside its config.json.
. "$(dirname "$0")/common.sh"
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
{ head_of 1 0; text "$(printf '%070000d' 0)"; le32 1; } | gguf "a tensor's name has 70000 bytes; allowed 65536"
{ head_of 1 0; tensor a 9 1 0 0; } | gguf "tensor 'a' has 9 dimensions; allowed 1 to 4"
{ head_of 1 0; tensor a 1 0 0 0; } | gguf "tensor 'a': size 0 is 0"
{ head_of 1 0; tensor a 1 32 3 0; } | gguf "tensor 'a' has ggml type 3; supported are F32, F16, BF16, Q8_0, Q4_0, Q4_K and Q6_K"
{ head_of 1 0; tensor a 1 31 8 0; } | gguf "tensor 'a' has rows of 31 elements, its blocks 32"
{ head_of 1 0; tensor a 1 32 0 0; } | gguf "not a whole GGUF file: the data of a tensor lies outside of its 57 bytes"
{ head_of 0 1; value general.alignment 0; } | gguf "general.alignment is 0"
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
only "m.safetensors t.idx "
finish
