#!/bin/bash
# guest.sh usbip|redir bridge|usb|ulpi HEDDLE: a Linux guest under QEMU attaches a board that `heddle serve` serves, behind an FTDI bridge or with a USB device of
# its own, and runs the default network on it, byte-equal to the instruction-level model; see init for what happens inside. Exit 77, with the reason, where something
# that it takes is missing.
set -eu
link=$1 device=$2 heddle=$3
here=$(dirname "$(readlink -f "$0")")
. "$here/network.sh"
skip() { echo "skipped: $*"; exit 77; }
fail() { echo "failed: $*"; tail -n 5 "$work/errors" 2>/dev/null; exit 1; }
if [ -n "${HEDDLE_CACHE:-}" ]; then cache=$HEDDLE_CACHE
elif [ -n "${XDG_CACHE_HOME:-}" ]; then cache=$XDG_CACHE_HOME/heddle
else cache=${HOME:-/nowhere}/.cache/heddle; fi
kernel=$cache/guest-kernel
PATH=$PATH:/usr/sbin:/sbin
[ "$(uname -m)" = x86_64 ] || skip "the guest runs this machine's programs on an x86_64, and this is $(uname -m)"
for tool in qemu-system-x86_64:qemu-system-x86 busybox:busybox-static usbip:usbip verilator:verilator; do
    command -v "${tool%%:*}" >/dev/null || skip "${tool%%:*} is not installed (package ${tool#*:})"
done
ldd "$(command -v busybox)" >/dev/null 2>&1 && skip "busybox is not static (package busybox-static)"
[ -f "$kernel/release" ] || skip "no guest kernel in $kernel (./bootstrap test fetches it, or tests/e2e/fetch_kernel.sh)"
[ -f $images ] || skip "$images is missing (package dataset-fashion-mnist)"
! ldd "$heddle" | grep -q -E 'libasan|libubsan' || skip "a sanitized heddle has no room in the guest"

work=$(mktemp -d)
server=
finish() {
    exec 3<&- || true
    [ -z "${qemu:-}" ] || kill "$qemu" 2>/dev/null || true
    [ -z "$server" ] || kill -9 "$server" 2>/dev/null || true
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap finish EXIT
export OMP_NUM_THREADS=1

# ---- the board
serve() { # a port of 0 is any free one, the first time
    local where=(--port "${port:-0}")
    [ "$link" = usbip ] || where=(--redir "$work/board")
    "$heddle" serve --board hx8k --link $device --geometry $geometry --memory $memory "${where[@]}" --json >"$work/said" 2>"$work/errors" &
    server=$!
    for _ in $(seq 1200); do
        [ -s "$work/said" ] && break
        kill -0 $server 2>/dev/null || fail "heddle serve"
        sleep 0.1
    done
    if [ "$link" = usbip ]; then port=$(tr -d ' \t' <"$work/said" | sed -n 's/"port"://p'); fi
}
serve

# ---- what the guest has: the network, images, and what the model makes of them
root=$work/root
mkdir -p "$root"/{bin,proc,sys,dev,tmp,run,root,etc,lib64,usr/share/misc,var/run}
chmod 1777 "$root/tmp"
make_network "$heddle" "$root" >"$work/log"

# Programs, and the libraries that they load, at the places where they look for them.
cp "$(command -v busybox)" "$(command -v usbip)" "$root/bin/"
ln -s busybox "$root/bin/sh"
strip -o "$root/bin/heddle" "$heddle"
{ ldd "$heddle"; ldd "$(command -v usbip)"; } | grep -o '/[^ ]*' | sort -u | while read -r library; do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
: >"$root/usr/share/misc/usb.ids"
printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
release=$(<"$kernel/release")
mkdir -p "$root/lib/modules/$release"
cp "$kernel"/modules/*.ko "$root/lib/modules/$release/"
busybox depmod -b "$root" "$release"
install -m 755 "$here/init" "$root/init"
(cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd"

# ---- the guest
words="link=$link id=1209:0001 serial=virtual0 interface=0"
[ "$device" != bridge ] || words="link=$link id=0403:6010 serial=virtual interface=1 module=ftdi_sio"
if [ "$link" = usbip ]; then
    words="$words port=$port modules=virtio_pci,virtio_net,vhci-hcd,ftdi_sio"
    plug=(-netdev user,id=net,restrict=off -device virtio-net-pci,netdev=net,romfile=)
else
    words="$words modules=xhci-pci,ftdi_sio"
    again=reconnect=1 # its name until QEMU 9.1
    qemu-system-x86_64 -chardev socket,help 2>&1 | grep -q reconnect-ms && again=reconnect-ms=500
    plug=(-device qemu-xhci -chardev "socket,id=board,path=$work/board,$again" -device usb-redir,chardev=board)
fi
mkfifo "$work/console"
# No KVM: where /dev/kvm exists in a container or a guest it need not work, and 60 seconds are enough without. The ACPI timer: how fast the processor's counter runs a
# guest measures against the wall's time, and on a busy machine it may be wrong by a factor of five. 280 seconds are for such machines, too.
timeout 280 qemu-system-x86_64 -accel tcg -cpu max -m 512 -nodefaults -no-user-config -display none -serial stdio -no-reboot -kernel "$kernel/kernel" \
    -initrd "$work/initrd" -append "console=ttyS0 quiet panic=-1 clocksource=acpi_pm $words" "${plug[@]}" </dev/null >"$work/console" 2>&1 &
qemu=$!
exec 3<"$work/console"
result="the guest ended early"
while IFS= read -r line <&3; do
    line=${line%$'\r'}
    echo "$line"
    case $line in
        "host: kill") kill -9 $server; wait $server 2>/dev/null || true ;;
        "host: serve") serve ;;
        "host: interrupt")
            kill -INT $server
            for _ in $(seq 300); do kill -0 $server 2>/dev/null || break; sleep 0.1; done
            kill -0 $server 2>/dev/null && fail "the server does not end on Ctrl-C"
            server=
            [ ! -e "$work/board" ] || fail "the server left its socket behind" ;;
        "fail: "*) result=${line#fail: } ;;
        done) result= ;;
    esac
done
[ -z "$result" ] || fail "$result"
