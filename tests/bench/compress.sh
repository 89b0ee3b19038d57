# compress.sh HEDDLE JSON_GET: `heddle bench compress` against the bars: authors' figures less a margin, at no more bits, in under 10 s.
. "$(dirname "$0")/common.sh"

models=${HEDDLE_MODELS-}
[ -r "$models/stories260K.bin" ] || skip "stories260K.bin not found in '$models' (set HEDDLE_MODELS)"
bench compress
within float 1.6855 1.6865
within w4g32 1.69 1.735
within w4g32.bpw 4 4.55
within w3g32 1.69 2.00
within w3g32.bpw 3 3.55
within w2g16 1.69 2.90
within w2g16.bpw 2 2.5
within bpw2_4 1.69 2.90
within bpw2_4.bpw 2 2.5
within sparse50 1.69 2.95
within sparse50.bpw 8 9.01
within sparse24 1.69 3.50
within sparse24.bpw 8 9.01
within resnet8.float 0.855 0.855
within resnet8.w8 0.845 1
within resnet8.w4 0.84 1
# After training in the stored format: half of the 4x8 blocks, 4 bits.
within block50_w4 1.69 2.20
within block50_w4.bpw 2 2.4
within block50_w4.seconds 0 150
within bpw2_tuned 1.69 2.30
within bpw2_tuned.bpw 1.5 2.0
within bpw2_tuned.seconds 0 150
for setting in w4g32 w3g32 w2g16 bpw2_4 sparse50 sparse24; do within $setting.seconds 0 10; done
finish
