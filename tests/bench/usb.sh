# usb.sh HEDDLE JSON_GET: `heddle bench usb` against the least that is wanted. The driver's shares are medians of pairs in one process; the rest is simulated, so exact.
. "$(dirname "$0")/common.sh"

command -v verilator >/dev/null || skip "verilator is not installed"
bench usb
within usb.driver_share 0.90 2
within usb.round_trip_ratio 0.01 1.3
within usb.framing 0.97 1
# Payload: framing, answers and idle polls of the other direction are off already.
within usb.fs_mbps 1.0 1.216
within usb.fs_in_mbps 1.0 1.216
within usb.ulpi_mbps 2.5 3
within usb.ulpi_in_mbps 2.5 3
# 12 Mbit/s at HX8K's 44.25 MHz, without a gap and without a byte lost.
within usb.uart_mbps 1.16 1.2
within usb.uart_in_mbps 1.1 1.2
within usb.resent 0 0
finish
